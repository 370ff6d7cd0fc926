/** `gqa leaderboard`: what a sweep has found so far, over its seeds, as text or for a paper. */
import path from 'node:path';
import { snakeKeys } from '../config/resolve.js';
import { counted } from '../counted.js';
import { columnsOf } from '../run/fit.js';
import { rightIn } from '../run/predictions.js';
import { latexTable, markdownTable } from '../run/table.js';
import { type Method, summaryCells, summaryCsv, summaryOf, summaryTable } from '../sweep/summary.js';
import { say } from './say.js';
import { rowsIn } from './sweep-plan.js';

const FORMATS = {
  table: (methods: readonly Method[]) => summaryTable(methods, columnsOf(process.stdout)),
  csv: summaryCsv,
  json: (methods: readonly Method[]) => `${JSON.stringify(methods.map(snakeKeys))}\n`,
  markdown: (methods: readonly Method[]) => {
    const { columns, rows } = summaryCells(methods);
    return markdownTable(columns, rows);
  },
  latex: (methods: readonly Method[]) => {
    const { columns, rows } = summaryCells(methods);
    return latexTable(columns, rows);
  },
} satisfies Record<string, (methods: readonly Method[]) => string>;

/** @throws GqaError `usage` where the folder is no sweep's */
export async function leaderboard({ sweep, format }: { sweep: string; format: keyof typeof FORMATS }): Promise<void> {
  const rows = rowsIn(path.resolve(sweep));
  const done = rows.filter(({ outcome }) => outcome !== null).length;
  if (done < rows.length) say(`${done} of ${counted(rows.length, 'run')} are done`);
  process.stdout.write(FORMATS[format](summaryOf(rows, rightIn)));
}
