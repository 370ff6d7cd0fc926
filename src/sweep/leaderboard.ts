/** What a sweep found, a row a point: for the terminal and as leaderboard.csv. */
import { type Column, formatTable, percent, toCsv } from '../run/table.js';
import { keysOf } from './axis.js';
import type { PointOutcome, PointReport } from './child.js';
import type { PlannedPoint } from './grid.js';

export interface Row {
  point: PlannedPoint;
  /** null: not reached. */
  outcome: PointOutcome | null;
  /** Its run folder, which a failed point may lack. */
  run: string;
}

/** A column of leaderboard.csv; empty where the point has no such figure. */
type Cell = (row: Row, report: PointReport | null) => string | number | null;

/**
 * leaderboard.csv. *_converted and *_best are of the part that chooses the best epoch (validation; under protocol
 * `paper` the test split), *_test of the test split; fractions 0 to 1. top1_converted is empty with a fresh head.
 * kv_parameters: those of the key and value projections. exit_code: of the point's process, as a shell has it; reason:
 * why it is not done.
 */
const CSV: Record<string, Cell> = {
  variant: ({ point }) => point.variant,
  kv_heads: ({ point }) => point.kvHeads,
  seed: ({ point }) => point.seed,
  kv_parameters: (_, report) => report?.kv_parameters ?? null,
  top1_converted: (_, report) => report?.converted?.top1 ?? null,
  best_epoch: (_, report) => report?.best.epoch ?? null,
  top1_best: (_, report) => report?.best.top1 ?? null,
  loss_best: (_, report) => report?.best.loss ?? null,
  top1_test: (_, report) => report?.test?.top1 ?? null,
  top5_test: (_, report) => report?.test?.top5 ?? null,
  loss_test: (_, report) => report?.test?.loss ?? null,
  train_images_per_s: (_, report) => report?.train_images_per_s ?? null,
  state: ({ outcome }) => stateOf(outcome),
  exit_code: ({ outcome }) => outcome?.exitCode ?? null,
  reason: ({ outcome }) => (outcome === null || outcome.state === 'done' ? null : outcome.how),
  run: ({ run }) => run,
};

/** Other axes have columns of their own behind these, by their keys. */
export function leaderboardCsv(rows: readonly Row[]): string {
  const axes = keysOf(rows.map(({ point }) => point));
  return toCsv([
    [...Object.keys(CSV), ...axes],
    ...rows.map((row) => [
      ...Object.values(CSV).map((cell) => cell(row, reportOf(row))),
      ...axes.map((key) => row.point.axes[key] ?? null),
    ]),
  ]);
}

export const reportOf = ({ outcome }: Row): PointReport | null => (outcome?.state === 'done' ? outcome.report : null);

/** @param width columns of the terminal. What is left out where it is narrow stands in leaderboard.csv. */
export function leaderboardTable(rows: readonly Row[], width = Number.POSITIVE_INFINITY): string {
  const right = (title: string, optional = false): Column => ({ title, align: 'right', optional });
  const axes = keysOf(rows.map(({ point }) => point));
  const columns: Column[] = [
    { title: 'variant' },
    right('KV heads'),
    right('seed'),
    ...axes.map((key) => right(key)),
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
      const report = reportOf({ point, outcome, run });
      return [
        point.variant,
        String(point.kvHeads),
        String(point.seed),
        ...axes.map((key) => point.axes[key] ?? '–'),
        report ? String(report.kv_parameters) : '–',
        report?.fresh_head ? '– (fresh head)' : percent(report?.converted?.top1),
        percent(report?.best.top1),
        percent(report?.test?.top1),
        typeof report?.train_images_per_s === 'number' ? report.train_images_per_s.toFixed(1) : '–',
        describeState(outcome),
        run,
      ];
    }),
    width,
  );
}

/** `done`, `failed`, `crashed`, `interrupted` or `not run`: one word for machines; `describeState` tells more. */
export const stateOf = (outcome: PointOutcome | null): PointOutcome['state'] | 'not run' => outcome?.state ?? 'not run';

/** `done` · `failed (exit 6)` · `crashed (SIGSEGV)` · `not run` */
export function describeState(outcome: PointOutcome | null): string {
  if (outcome === null) return 'not run';
  return outcome.state === 'done' ? 'done' : `${outcome.state} (${outcome.how})`;
}
