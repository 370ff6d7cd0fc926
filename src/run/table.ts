/** Results as text: aligned columns for the terminal, CSV for files. */

export interface Column {
  title: string;
  /** Numbers stand at the right edge of their column, so that their digits line up. */
  align?: 'left' | 'right';
}

/**
 * Plain text, a line a row, columns two blanks apart, no line ends in blanks.
 * @param rows cells as they shall be shown; each row as long as `columns`
 */
export function formatTable(columns: Column[], rows: string[][]): string {
  const widths = columns.map((column, c) => Math.max(width(column.title), ...rows.map((row) => width(row[c] ?? ''))));
  const line = (cells: string[]) =>
    columns
      .map((column, c) => {
        const cell = cells[c] ?? '';
        const blanks = ' '.repeat((widths[c] ?? 0) - width(cell));
        return column.align === 'right' ? blanks + cell : cell + blanks;
      })
      .join('  ')
      .trimEnd();
  return `${[line(columns.map((column) => column.title)), line(widths.map((w) => '-'.repeat(w))), ...rows.map(line)].join('\n')}\n`;
}

/** Characters, not UTF-16 units: a class name may hold an emoji. */
const width = (text: string) => [...text].length;

/**
 * CSV as in RFC 4180 with plain line feeds: a cell with a comma, a quote or a line break is quoted.
 * A text that a spreadsheet would run as a formula (=, +, -, @ first) gets an apostrophe before it; numbers are left alone.
 * null is an empty cell; numbers that are not finite are written as NaN, Infinity, -Infinity, so that they are seen.
 */
export function toCsv(rows: (string | number | null)[][]): string {
  return rows.map((row) => `${row.map(csvCell).join(',')}\n`).join('');
}

function csvCell(cell: string | number | null): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const harmless = /^[=+\-@]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/** A fraction, 0 to 1, as tables show it. */
export const percent = (fraction: number | null | undefined): string =>
  typeof fraction === 'number' ? `${(100 * fraction).toFixed(2)} %` : '–';
