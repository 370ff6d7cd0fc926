/** The charts of a report, as vega-lite has them: what is shown, without any drawing. */
import type { TopLevelSpec } from 'vega-lite';
import { inWords } from '../sweep/axis.js';
import { spreadOf } from '../sweep/statistics.js';
import { grouped, type Method } from '../sweep/summary.js';
import { methodName, type ReportedRun } from './gather.js';

export interface Chart {
  /** Of its files. */
  name: string;
  title: string;
  /** In words, for who does not see it. */
  description: string;
  spec: TopLevelSpec;
}

/** Inherits the text colour of the page that it stands in, light or dark. */
const INK = 'currentColor';
const CONFIG = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  axis: {
    labelColor: INK,
    titleColor: INK,
    domainColor: INK,
    tickColor: INK,
    gridColor: INK,
    gridOpacity: 0.15,
    labelFontSize: 12,
    titleFontSize: 12,
  },
  legend: { labelColor: INK, titleColor: INK, labelFontSize: 12, titleFontSize: 12, orient: 'bottom', columns: 3 },
  rule: { color: INK },
} as const;
const SIZE = { width: 560, height: 300 };
const SCHEMA = 'https://vega.github.io/schema/vega-lite/v6.json';
const top1 = (title: string) =>
  ({ type: 'quantitative', title, scale: { zero: false }, axis: { format: '.0%' } }) as const;
/**
 * By colour, and of points by shape too, so that they are told apart without colours. Both have their domain said: with
 * one that vega-lite gathers from layers they would be two legends.
 */
function byMethod(values: readonly { method: string }[]) {
  const domain = [...new Set(values.map(({ method }) => method))];
  const method = { field: 'method', type: 'nominal', title: null, scale: { domain } };
  return { coloured: { color: method }, marked: { color: method, shape: method } };
}
const POINT = { type: 'point', size: 60, filled: true, opacity: 1 } as const;

/** Lines and points at `mean`, and behind them a mark from `low` to `high`. */
function meansAndSpreads(values: readonly { method: string }[], y: object, spread: object): object[] {
  const { coloured, marked } = byMethod(values);
  const mean = { field: 'mean', ...y };
  return [
    { mark: spread, encoding: { ...coloured, y: { field: 'low', ...y }, y2: { field: 'high' } } },
    { mark: 'line', encoding: { ...coloured, y: mean } },
    { mark: POINT, encoding: { ...marked, y: mean } },
  ];
}

/** Those for which there is something to show. */
export function chartsOf(runs: readonly ReportedRun[], methods: readonly Method[]): Chart[] {
  return [curves(runs), byKvHeads(methods), bySize(methods), differences(methods)].filter((chart) => chart !== null);
}

const chart = (name: string, title: string, description: string, spec: object): Chart => ({
  ...{ name, title, description },
  spec: { $schema: SCHEMA, description, ...SIZE, config: CONFIG, ...spec } as TopLevelSpec,
});

/** Mean over seeds after each epoch, a standard deviation to either side as a band. */
function curves(runs: readonly ReportedRun[]): Chart | null {
  const values = [...grouped(runs, ({ point }) => methodName(point))].flatMap(([method, group]) =>
    [
      ...grouped(
        group.flatMap(({ curve }) => curve),
        ({ epoch }) => epoch,
      ),
    ].map(([epoch, at]) => {
      const { mean, sd } = spreadOf(at.map(({ top1 }) => top1));
      return { method, epoch, mean, low: mean - (sd ?? 0), high: mean + (sd ?? 0) };
    }),
  );
  if (values.length === 0) return null;
  const x = { field: 'epoch', type: 'quantitative', title: 'epoch (0: as converted)', axis: { tickMinStep: 1 } };
  return chart(
    'curves',
    'Top-1 by epoch',
    'Top-1 of the part that chooses the best epoch, after each epoch: mean over seeds, with a standard deviation as a band.',
    {
      data: { values },
      encoding: { x },
      layer: meansAndSpreads(values, top1('top-1'), { type: 'area', opacity: 0.15 }),
    },
  );
}

const bars = (methods: readonly Method[]) =>
  methods.map(({ variant, kvHeads, axes, kvParameters, test: { n, mean, sd } }) => ({
    method: `${variant}${inWords(axes)}`,
    ...{ kvHeads, kvParameters, n, mean, low: mean - (sd ?? 0), high: mean + (sd ?? 0) },
  }));

function byKvHeads(methods: readonly Method[]): Chart | null {
  if (methods.length === 0) return null;
  const values = bars(methods);
  const x = { field: 'kvHeads', type: 'ordinal', title: 'KV heads', axis: { labelAngle: 0 } };
  return chart(
    'kv-heads',
    'Test top-1 by KV heads',
    'Test top-1 by number of KV heads, a line a variant: mean over seeds, with a standard deviation to either side.',
    {
      data: { values },
      encoding: { x },
      layer: meansAndSpreads(values, top1('test top-1'), { type: 'rule', strokeWidth: 1.5 }),
    },
  );
}

/** What nothing of the same size or smaller beats is joined by a line. */
function bySize(methods: readonly Method[]): Chart | null {
  if (methods.length === 0) return null;
  const all = bars(methods);
  const { marked } = byMethod(all);
  const best = all.filter((one) =>
    all.every(
      (other) =>
        other === one ||
        other.kvParameters > one.kvParameters ||
        other.mean < one.mean ||
        (other.mean === one.mean && other.kvParameters === one.kvParameters),
    ),
  );
  const x = {
    field: 'kvParameters',
    type: 'quantitative',
    title: 'parameters of K and V',
    scale: { zero: false },
    axis: { format: '~s' },
  };
  const y = { field: 'mean', ...top1('test top-1') };
  return chart(
    'pareto',
    'Test top-1 by K/V size',
    'Test top-1 by parameters of the key and value projections; a line joins the methods that nothing of their size or smaller beats.',
    {
      layer: [
        {
          data: { values: best },
          mark: { type: 'line', color: INK, strokeDash: [4, 4], opacity: 0.6 },
          encoding: { x, y, order: { field: 'kvParameters' } },
        },
        {
          data: { values: all },
          mark: POINT,
          encoding: { ...marked, x, y },
        },
      ],
    },
  );
}

function differences(methods: readonly Method[]): Chart | null {
  const values = methods.flatMap(({ toGqa, ...method }) =>
    toGqa === null
      ? []
      : [
          {
            method: methodName(method),
            mean: toGqa.mean,
            low: toGqa.interval?.[0] ?? toGqa.mean,
            high: toGqa.interval?.[1] ?? toGqa.mean,
          },
        ],
  );
  if (values.length === 0) return null;
  const y = { field: 'method', type: 'nominal', title: null, sort: null, axis: { labelLimit: 260 } };
  const percent = { type: 'quantitative', title: 'difference of test top-1 to gqa', axis: { format: '+.1%' } };
  return chart(
    'differences',
    'Difference to gqa',
    'Difference of test top-1 to gqa with as many KV heads, of pairs of one seed: mean, and its 95 % interval by Student’s t where there are several seeds.',
    {
      height: { step: 26 },
      layer: [
        {
          data: { values: [{ zero: 0 }] },
          mark: { type: 'rule', opacity: 0.5 },
          encoding: { x: { field: 'zero', ...percent } },
        },
        {
          data: { values },
          mark: { type: 'rule' },
          encoding: { y, x: { field: 'low', ...percent }, x2: { field: 'high' } },
        },
        {
          data: { values },
          mark: { type: 'point', filled: true, size: 70, color: '#4c78a8' },
          encoding: { y, x: { field: 'mean', ...percent } },
        },
      ],
    },
  );
}
