/** Draws a chart by vega, without a browser. */

import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import type { Chart } from './charts.js';

/** @returns SVG; its ink is the text colour of what it stands in */
export async function drawn({ spec }: Chart): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
