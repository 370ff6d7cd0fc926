/** What `gqa analyze` prints. */

import type { LayerAnalysis } from '../convert/analysis.js';
import type { LayerRecord } from '../convert/checkpoint.js';
import type { Wanted } from '../convert/convert.js';
import type { LayerError } from '../convert/layer-error.js';
import { type Column, formatTable, percent } from '../run/table.js';

/** On test images: `divergence` is the mean KL from MHA's outputs, `same` the part of images that get MHA's class. */
export interface Accuracy {
  top1: number;
  divergence: number;
  same: number;
}

export interface CombinationRow {
  grouping: string;
  merge: string;
  wanted: Wanted;
  /** Null where it was not measured. */
  accuracy: Accuracy | null;
  seconds: number;
  layers: LayerRecord[];
}

/** `3`, of each layer, or `36 in all`. */
export const wantedInWords = (wanted: Wanted): string =>
  'each' in wanted ? String(wanted.each) : `${wanted.together} in all`;

export function analysisTables(
  layers: readonly LayerAnalysis[],
  combinations: readonly CombinationRow[],
  baseline: Accuracy | null,
  keep: number,
): string {
  const parts = [
    'Dimensions that hold 90 and 99 % of what keys and values vary by\n',
    dimensionsTable(layers),
    '\nQuery heads for each KV head, as the key-driven variants would begin\n',
    allocationsTable(layers),
    '\nWhat merging costs: squared error of logits and outputs in parts of their own, mean and worst over layers\n',
    combinationsTable(combinations, baseline),
    `\nFewest KV heads that keep ${percent(keep)} of logits and outputs, by layer\n`,
    keepingTable(layers.length, combinations, keep),
  ];
  return parts.join('');
}

const right = (title: string): Column => ({ title, align: 'right' });
const table = (columns: Column[], rows: string[][]): string => `${formatTable(columns, rows)}\n`;

function dimensionsTable(layers: readonly LayerAnalysis[]): string {
  const of = ({ of: all, d90, d99 }: { of: number; d90: number; d99: number }): string =>
    `${Math.round(d90)}, ${Math.round(d99)} of ${all}`;
  return table(
    [
      right('layer'),
      right('keys, all heads'),
      right('keys, a head'),
      right('values, all heads'),
      right('values, a head'),
    ],
    layers.map(({ dimensions: { keys, values } }, i) => [
      String(i),
      of(keys.all),
      of(keys.head),
      of(values.all),
      of(values.head),
    ]),
  );
}

function allocationsTable(layers: readonly LayerAnalysis[]): string {
  const counts = layers[0]?.allocations.map(({ kvHeads }) => kvHeads) ?? [];
  return table(
    [right('layer'), ...counts.flatMap((k) => [right(`kdgqa, ${k}`), right(`dgqa, ${k}`)])],
    layers.map(({ allocations }, i) => [
      String(i),
      ...allocations.flatMap(({ kdgqa, dgqa }) => [kdgqa.join(' '), dgqa.join(' ')]),
    ]),
  );
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const errorsOf = ({ layers }: CombinationRow): LayerError[] => layers.map(({ error }) => error as LayerError);

function combinationsTable(combinations: readonly CombinationRow[], baseline: Accuracy | null): string {
  const rows = combinations.map((row) => {
    const { grouping, merge, wanted, accuracy } = row;
    const errors = errorsOf(row);
    const [keys, values] = [errors.map((each) => each.keys), errors.map((each) => each.values)];
    return [
      wantedInWords(wanted),
      grouping,
      merge,
      percent(meanOf(keys)),
      percent(Math.max(...keys)),
      percent(meanOf(values)),
      percent(Math.max(...values)),
      ...(accuracy === null ? [] : [percent(accuracy.top1), accuracy.divergence.toFixed(3), percent(accuracy.same)]),
    ];
  });
  const columns = [
    right('KV heads'),
    { title: 'grouping' },
    { title: 'merge' },
    ...[right('logits'), right('worst'), right('outputs'), right('worst')],
    ...(baseline === null ? [] : [right('top-1 as converted'), right('KL'), right('same class')]),
  ];
  return `${table(columns, rows)}${baseline === null ? '' : `MHA: ${percent(baseline.top1)}\n`}`;
}

/** For each merge the fewest KV heads, with the best of the groupings that were looked at. */
function keepingTable(depth: number, combinations: readonly CombinationRow[], keep: number): string {
  const merges = [...new Set(combinations.map(({ merge }) => merge))];
  const fewest = (merge: string, layer: number): string => {
    const enough = combinations.flatMap((row) => {
      const { keys, values } = errorsOf(row)[layer] as LayerError;
      return row.merge === merge && 'each' in row.wanted && Math.max(keys, values) <= 1 - keep ? [row.wanted.each] : [];
    });
    return enough.length === 0 ? 'all' : String(Math.min(...enough));
  };
  return table(
    [right('layer'), ...merges.map(right)],
    Array.from({ length: depth }, (_, layer) => [String(layer), ...merges.map((merge) => fewest(merge, layer))]),
  );
}
