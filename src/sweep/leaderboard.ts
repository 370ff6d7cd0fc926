/** What a sweep found, a row a point: for the terminal and as leaderboard.csv. */
import { type Column, formatTable, percent, toCsv } from '../run/table.js';
import type { PointOutcome } from './child.js';
import type { Point } from './grid.js';

export interface Row {
  point: Point;
  /** null: not reached. */
  outcome: PointOutcome | null;
  /** Its run folder, which a failed point may lack. */
  run: string;
}

/**
 * Columns of leaderboard.csv. top1_converted and top1_best are of the part that chooses the best epoch (validation; under protocol `paper` the test split),
 * top1_test of the test split; fractions 0 to 1. kv_parameters: those of the key and value projections.
 */
const csvColumns = [
  'variant',
  'kv_heads',
  'seed',
  'kv_parameters',
  'top1_converted',
  'top1_best',
  'top1_test',
  'train_images_per_s',
  'state',
  'run',
];

export function leaderboardCsv(rows: readonly Row[]): string {
  return toCsv([
    csvColumns,
    ...rows.map(({ point, outcome, run }) => {
      const report = outcome?.state === 'done' ? outcome.report : null;
      return [
        point.variant,
        point.kvHeads,
        point.seed,
        report?.kvParameters ?? null,
        report?.converted?.top1 ?? null,
        report?.best.top1 ?? null,
        report?.test?.top1 ?? null,
        report?.trainImagesPerSecond ?? null,
        describeState(outcome),
        run,
      ];
    }),
  ]);
}

/** @param width columns of the terminal. What is left out where it is narrow stands in leaderboard.csv. */
export function leaderboardTable(rows: readonly Row[], width = Number.POSITIVE_INFINITY): string {
  const right = (title: string, optional = false): Column => ({ title, align: 'right', optional });
  const columns: Column[] = [
    { title: 'variant' },
    right('KV heads'),
    right('seed'),
    right('K/V parameters', true),
    right('top-1 as converted'),
    right('top-1 after'),
    right('test top-1'),
    right('images/s', true),
    { title: 'state' },
    { title: 'run', optional: true },
  ];
  return formatTable(
    columns,
    rows.map(({ point, outcome, run }) => {
      const report = outcome?.state === 'done' ? outcome.report : null;
      return [
        point.variant,
        String(point.kvHeads),
        String(point.seed),
        report ? String(report.kvParameters) : '–',
        report?.freshHead ? '– (fresh head)' : percent(report?.converted?.top1),
        percent(report?.best.top1),
        percent(report?.test?.top1),
        typeof report?.trainImagesPerSecond === 'number' ? report.trainImagesPerSecond.toFixed(1) : '–',
        describeState(outcome),
        run,
      ];
    }),
    width,
  );
}

/** `done` · `failed (exit 6)` · `crashed (SIGSEGV)` · `not run` */
export function describeState(outcome: PointOutcome | null): string {
  if (outcome === null) return 'not run';
  return outcome.state === 'done' ? 'done' : `${outcome.state} (${outcome.how})`;
}
