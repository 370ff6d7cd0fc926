/** Draws a chart by vega, without a browser. */

import sharp from 'sharp';
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

/** For slides: dark on white, twice as many pixels as the chart is wide. */
export const asPng = (svg: string): Promise<Buffer> =>
  sharp(Buffer.from(svg.replaceAll('currentColor', '#1a1a1a')), { density: 144 })
    .flatten({ background: 'white' })
    .png()
    .toBuffer();
