/** Matrices of cosines as one SVG: a panel for each, darker the more alike. */
import { escaped } from '../report/page.js';

export interface Panel {
  title: string;
  /** [H][H], −1 to 1. */
  values: readonly (readonly number[])[];
}

const CELL = 14;
const GAP = 28;

/** @param columns panels side by side */
export function heatMaps(title: string, panels: readonly Panel[], columns: number): string {
  const heads = panels[0]?.values.length ?? 0;
  const side = heads * CELL;
  const rows = Math.ceil(panels.length / columns);
  const [width, height] = [GAP + columns * (side + GAP), 2 * GAP + rows * (side + GAP)];
  const drawn = panels.map(({ title: name, values }, i) => {
    const [x, y] = [GAP + (i % columns) * (side + GAP), 2 * GAP + Math.floor(i / columns) * (side + GAP)];
    const cells = values.flatMap((row, a) =>
      row.map((value, b) => {
        const [left, top] = [x + b * CELL, y + a * CELL];
        return `<rect x="${left}" y="${top}" width="${CELL}" height="${CELL}" fill="${colourOf(value)}"><title>heads ${a} and ${b}: ${value.toFixed(3)}</title></rect>`;
      }),
    );
    return `<text x="${x}" y="${y - 6}">${escaped(name)}</text>\n${cells.join('')}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="${GAP}" y="${GAP - 8}" font-size="14">${escaped(title)}</text>`,
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

/** White at 0, blue at 1, red at −1. */
function colourOf(value: number): string {
  const part = Math.min(1, Math.abs(value));
  const [r, g, b] = value >= 0 ? [8, 69, 148] : [165, 15, 21];
  const mixed = [r, g, b].map((full) => Math.round(255 + (full - 255) * part));
  return `rgb(${mixed.join(',')})`;
}
