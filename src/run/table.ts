/** Results as text: aligned columns for the terminal, CSV for files. */

import { columnsIn } from './fit.js';

export interface Column {
  title: string;
  /** Numbers stand at the right edge of their column, so that their digits line up. */
  align?: 'left' | 'right';
  /** May be left out where the terminal is too narrow; of several the last goes first. */
  optional?: boolean;
}

/**
 * Plain text, a line a row, columns two blanks apart, no line ends in blanks. What is wider than `width` gets its
 * titles broken at blanks; then optional columns are left out, named below; and what is too wide even so becomes a
 * list, a block a row.
 * @param rows cells as they shall be shown; each row as long as `columns`
 * @param width columns of the terminal; files and pipes have no bound
 */
export function formatTable(columns: Column[], rows: string[][], width = Number.POSITIVE_INFINITY): string {
  const whole = { columns, rows };
  const without = columns
    .map((column, c) => ({ column, c }))
    .filter(({ column }) => column.optional)
    .map(({ c }) => c)
    .reverse();
  const narrower = without.map((_, i) => leaveOut(whole, new Set(without.slice(0, i + 1))));
  const forms = [() => plainTable(whole, false), ...[whole, ...narrower].map((part) => () => plainTable(part, true))];
  for (const form of forms) {
    const text = form();
    if (widest(text) <= width) return text;
  }
  return list(whole);
}

interface Table {
  columns: Column[];
  rows: string[][];
  /** Titles of columns that are not shown. */
  leftOut?: string[];
}

function leaveOut({ columns, rows }: Table, which: ReadonlySet<number>): Table {
  const kept = <T>(cells: T[]): T[] => cells.filter((_, c) => !which.has(c));
  return {
    columns: kept(columns),
    rows: rows.map(kept),
    leftOut: columns.filter((_, c) => which.has(c)).map(({ title }) => title),
  };
}

/** @param broken titles stand in several lines, a word a line where the cells are narrow */
function plainTable({ columns, rows, leftOut = [] }: Table, broken: boolean): string {
  const cellWidths = columns.map((_, c) => Math.max(0, ...rows.map((row) => columnsIn(row[c] ?? ''))));
  const titles = columns.map(({ title }, c) => (broken ? breakAtBlanks(title, cellWidths[c] ?? 0) : [title]));
  const widths = cellWidths.map((width, c) => Math.max(width, ...(titles[c] ?? []).map(columnsIn)));
  const line = (cells: string[]) =>
    columns
      .map((column, c) => {
        const cell = cells[c] ?? '';
        const blanks = ' '.repeat((widths[c] ?? 0) - columnsIn(cell));
        return column.align === 'right' ? blanks + cell : cell + blanks;
      })
      .join('  ')
      .trimEnd();
  const height = Math.max(...titles.map(({ length }) => length));
  const heading = Array.from({ length: height }, (_, l) =>
    line(titles.map((words) => words[l - height + words.length] ?? '')),
  );
  const note = leftOut.length > 0 ? [`not shown: ${leftOut.join(', ')}`] : [];
  return `${[...heading, line(widths.map((w) => '-'.repeat(w))), ...rows.map(line), ...note].join('\n')}\n`;
}

/** Lines of at most `width` columns, or as wide as the widest word. */
function breakAtBlanks(title: string, width: number): string[] {
  const words = title.split(' ');
  const most = Math.max(width, ...words.map(columnsIn));
  const lines: string[] = [];
  for (const word of words) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && columnsIn(longer) <= most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** A line a cell, with its title; rows are parted by an empty line. */
function list({ columns, rows }: Table): string {
  const width = Math.max(...columns.map(({ title }) => columnsIn(title)));
  const entry = (row: string[]): string =>
    columns
      .map(({ title }, c) => `${title}${' '.repeat(width - columnsIn(title))}  ${row[c] ?? ''}`.trimEnd())
      .join('\n');
  return `${rows.map(entry).join('\n\n')}\n`;
}

const widest = (text: string): number => Math.max(...text.split('\n').map(columnsIn));

/**
 * CSV as in RFC 4180 with plain line feeds: a cell with a comma, a quote or a line break is quoted.
 * A text that a spreadsheet would run as a formula (=, +, -, @ first) gets an apostrophe before it; numbers are left
 * alone. null is an empty cell; numbers that are not finite are written as NaN, Infinity, -Infinity, so that they are
 * seen.
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

/** A table of Markdown, numbers at the right edge. */
export function markdownTable(columns: readonly Column[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  const titles = columns.map(({ title }) => title);
  return [titles, columns.map(({ align }) => (align === 'right' ? '---:' : '---')), ...rows].map(line).join('');
}

const LATEX: Record<string, string> = {
  ...{ '±': '$\\pm$', '−': '$-$', '–': '--' },
  ...{ '\\': '\\textbackslash{}', '^': '\\^{}', '~': '\\~{}' },
};

/** A `tabular` of LaTeX with the rules of the package booktabs. */
export function latexTable(columns: readonly Column[], rows: readonly string[][]): string {
  const cell = (text: string): string => text.replace(/[±−–\\^~&%$#_{}]/g, (char) => LATEX[char] ?? `\\${char}`);
  const line = (cells: readonly string[]): string => `  ${cells.map(cell).join(' & ')} \\\\\n`;
  const edges = columns.map(({ align }) => (align === 'right' ? 'r' : 'l')).join('');
  const titles = line(columns.map(({ title }) => title));
  return `\\begin{tabular}{${edges}}\n  \\toprule\n${titles}  \\midrule\n${rows.map(line).join('')}  \\bottomrule\n\\end{tabular}\n`;
}

/** A fraction, 0 to 1, as tables show it. */
export const percent = (fraction: number | null | undefined): string =>
  typeof fraction === 'number' ? `${(100 * fraction).toFixed(2)} %` : '–';

/** Rows of a CSV text, as `toCsv` writes them; quoted cells may hold commas, quotes and line ends. */
export function parseCsv(csv: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (const [, quoted, plain, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    row.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'));
    if (end === ',') continue;
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  }
  return rows;
}
