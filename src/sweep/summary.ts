/** What a sweep says of each method over its seeds: test top-1, its difference to GQA seed by seed, and what of MHA is kept. */
import { type Column, formatTable, toCsv } from '../run/table.js';
import { type AxisValues, keysOf } from './axis.js';
import { type Row, reportOf } from './leaderboard.js';
import { type Difference, overImages, pairedDifference, type Spread, spreadOf } from './statistics.js';

export interface Method {
  variant: string;
  kvHeads: number;
  /** What its runs have of other axes: those that differ there are never added up. */
  axes: AxisValues;
  kvParameters: number;
  /** Keys and values of one image; null: the runs are an older gqa's. */
  kvActivations: number | null;
  gflopsPerImage: number | null;
  /** In training, mean over its runs: to be compared only where they ran alike. */
  imagesPerSecond: number | null;
  /** Fractions 0 to 1. */
  test: Spread;
  converted: Spread | null;
  /** To `gqa` with as many KV heads, pairs of one seed; null: there is none, or this is it. */
  toGqa: Difference | null;
  /** The same difference's interval over test images; null: the runs kept no predictions. */
  toGqaOverImages: [number, number] | null;
  /** Mean test top-1 by that of `mha` over the seeds that both have; null: without `mha`. */
  ofMha: number | null;
}

/** Whether each test image was right in a run, by the image's name. */
export type RightOf = (run: string) => Right | null;
type Right = ReadonlyMap<string, boolean>;

/** Of the runs that are done and were tested, in the order of the sweep. */
export function summaryOf(rows: readonly Row[], rightOf: RightOf = () => null): Method[] {
  const runs = rows.flatMap(({ point, outcome, run }) => {
    const report = reportOf({ point, outcome, run });
    return report?.test ? [{ ...point, run, report, top1: report.test.top1 }] : [];
  });
  const read = new Map<string, Right | null>(); // gqa's are asked for by every method
  const readOnce: RightOf = (run) => {
    const found = read.get(run);
    if (found !== undefined) return found;
    const right = rightOf(run);
    read.set(run, right);
    return right;
  };
  const key = (variant: string, kvHeads: number, axes: AxisValues): string => JSON.stringify([variant, kvHeads, axes]);
  const groups = grouped(runs, ({ variant, kvHeads, axes }) => key(variant, kvHeads, axes));
  return [...groups.values()].map((group) => {
    const [{ variant, kvHeads, axes, report }] = group as [(typeof runs)[number]];
    const mha = runs.filter((each) => each.variant === 'mha' && JSON.stringify(each.axes) === JSON.stringify(axes));
    const pairsWith = (others: typeof runs): [(typeof runs)[number], (typeof runs)[number]][] =>
      group.flatMap((run) => {
        const other = others.find(({ seed }) => seed === run.seed);
        return other === undefined ? [] : [[run, other]];
      });
    const top1s = (pairs: ReturnType<typeof pairsWith>) =>
      pairs.map(([one, other]): [number, number] => [one.top1, other.top1]);
    const withGqa = variant === 'gqa' ? [] : pairsWith(groups.get(key('gqa', kvHeads, axes)) ?? []);
    const gqa = top1s(withGqa);
    const control = variant === 'mha' ? [] : top1s(pairsWith(mha));
    const right = withGqa.flatMap(([one, other]): [Right, Right][] => {
      const [a, b] = [readOnce(one.run), readOnce(other.run)];
      return a === null || b === null ? [] : [[a, b]];
    });
    const sum = (side: 0 | 1): number => control.reduce((total, pair) => total + pair[side], 0);
    const paces = group.flatMap(({ report }) => report.train_images_per_s ?? []);
    const converted = group.flatMap(({ report: { converted } }) => (converted === null ? [] : [converted.top1]));
    return {
      ...{ variant, kvHeads, axes, kvParameters: report.kv_parameters },
      ...{ kvActivations: report.kv_activations, gflopsPerImage: report.gflops_per_image },
      imagesPerSecond: paces.length === 0 ? null : spreadOf(paces).mean,
      test: spreadOf(group.map(({ top1 }) => top1)),
      converted: converted.length === group.length ? spreadOf(converted) : null,
      toGqa: gqa.length === 0 ? null : pairedDifference(gqa),
      toGqaOverImages: right.length < gqa.length ? null : (overImages(right)?.interval ?? null),
      ofMha: control.length === 0 ? null : sum(0) / sum(1),
    };
  });
}

/** Items of one key together, in the order in which they come. */
export function grouped<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

const points = (fraction: number): string => (100 * fraction).toFixed(2);
const signed = (fraction: number): string => `${fraction < 0 ? '−' : '+'}${points(Math.abs(fraction))}`;

const spread = ({ mean, sd }: Spread): string => `${points(mean)}${sd === null ? '' : ` ± ${points(sd)}`} %`;

/** `+1.20 (0.35 to 2.05)`: points of a percent, 95 % by Student's t. */
export const difference = ({ mean, interval }: Difference): string =>
  `${signed(mean)}${interval === null ? '' : ` (${interval.map(signed).join(' to ')})`}`;

/** As tables show it: titles, and a row a method. */
export function summaryCells(methods: readonly Method[]): { columns: Column[]; rows: string[][] } {
  const right = (title: string, optional = false): Column => ({ title, align: 'right', optional });
  const keys = keysOf(methods);
  const byImages = methods.some(({ toGqaOverImages }) => toGqaOverImages !== null);
  const columns = [
    { title: 'variant' },
    right('KV heads'),
    ...keys.map((key) => right(key)),
    ...[right('K/V parameters', true), right('seeds'), right('as converted', true), right('test top-1')],
    ...[right('to gqa, points (95 %)'), ...(byImages ? [right('95 % over images', true)] : []), right('of mha')],
    ...[right('K/V activations', true), right('GFLOPs', true), right('images/s', true)],
  ];
  const rows = methods.map(
    ({ variant, kvHeads, axes, kvParameters, test, converted, toGqa, toGqaOverImages, ofMha, ...cost }) => [
      ...[variant, String(kvHeads), ...keys.map((key) => axes[key] ?? '–')],
      ...[String(kvParameters), String(test.n), converted === null ? '–' : spread(converted), spread(test)],
      toGqa === null ? '–' : difference(toGqa),
      ...(byImages ? [toGqaOverImages === null ? '–' : toGqaOverImages.map(signed).join(' to ')] : []),
      ...[ofMha === null ? '–' : `${points(ofMha)} %`],
      ...[cost.kvActivations, cost.gflopsPerImage].map((figure) => (figure === null ? '–' : String(figure))),
      ...[cost.imagesPerSecond === null ? '–' : cost.imagesPerSecond.toFixed(1)],
    ],
  );
  return { columns, rows };
}

/** @param width columns of the terminal */
export function summaryTable(methods: readonly Method[], width = Number.POSITIVE_INFINITY): string {
  const { columns, rows } = summaryCells(methods);
  return formatTable(columns, rows, width);
}

/** The same with all digits: fractions 0 to 1; an empty cell where there is no such figure. */
export function summaryCsv(methods: readonly Method[]): string {
  const keys = keysOf(methods);
  const titles = [
    ...['variant', 'kv_heads', 'kv_parameters', 'seeds', 'top1_test_mean', 'top1_test_sd', 'top1_converted_mean'],
    ...[
      'to_gqa_pairs',
      'to_gqa_mean',
      'to_gqa_low',
      'to_gqa_high',
      'to_gqa_images_low',
      'to_gqa_images_high',
      'of_mha',
    ],
    ...['kv_activations', 'gflops_per_image', 'train_images_per_s_mean'],
    ...keys,
  ];
  const rows = methods.map(
    ({ variant, kvHeads, axes, kvParameters, test, converted, toGqa, toGqaOverImages, ofMha, ...cost }) => [
      ...[variant, kvHeads, kvParameters, test.n, test.mean, test.sd, converted?.mean ?? null],
      ...[toGqa?.n ?? null, toGqa?.mean ?? null, toGqa?.interval?.[0] ?? null, toGqa?.interval?.[1] ?? null],
      ...[toGqaOverImages?.[0] ?? null, toGqaOverImages?.[1] ?? null, ofMha],
      ...[cost.kvActivations, cost.gflopsPerImage, cost.imagesPerSecond],
      ...keys.map((key) => axes[key] ?? null),
    ],
  );
  return toCsv([titles, ...rows]);
}
