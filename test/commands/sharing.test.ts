/** Ways of sharing heads from the command line: train, eval, convert, sweep, analyze. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { readModelCard } from '../../src/checkpoint/model-file.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { gqa, temporaryFolder } from '../cli-run.js';

const runsDir = temporaryFolder();
const CONFIG = 'configs/smoke.yaml';
/** Of which `window_size` is only dgqa's. */
const set = (...keys: string[]): string[] => keys.flatMap((key) => ['--set', key]);
const mha = path.join(runsDir, 'smoke/mha/checkpoints/best/model.safetensors');

function run(command: string, ...args: string[]): Record<string, unknown> {
  const ran = gqa([command, ...args, '--json']);
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

const train = (name: string, ...keys: string[]): Record<string, unknown> =>
  run('train', '--config', CONFIG, '--runs-dir', runsDir, '--run-name', name, ...set(...keys));

const recordOf = (name: string): { layers: Record<string, unknown>[]; layer_choices?: unknown[] } =>
  JSON.parse(fs.readFileSync(path.join(runsDir, 'smoke', name, 'conversion.json'), 'utf8'));

before(() => {
  train('mha', 'model.variant=mha', 'model.kv_heads=null', 'model.heads=6');
});

const converted = (variant: string, ...more: string[]): string[] => [
  `model.variant=${variant}`,
  'model.heads=6',
  'model.kv_heads=2',
  `model.pretrained=${mha}`,
  ...more,
];

test('a paper’s method by its name: searched, merged, trained, its record kept, evaluated to the same figures', () => {
  for (const variant of ['qcqa', 'basis']) {
    const report = train(variant, ...converted(variant));
    const run_ = path.join(runsDir, 'smoke', variant);
    const { top1, loss } = run('eval', run_, '--split', 'val');
    const best = report.best as { top1: number; loss: number };
    assert.deepEqual([top1, loss], [best.top1, best.loss]);
    const config = fs.readFileSync(path.join(run_, 'config.yaml'), 'utf8');
    assert.match(config, variant === 'qcqa' ? /grouping: qcqa-ac/ : /merge: basis/);
  }
  const { layers, layer_choices } = recordOf('qcqa');
  const [layer] = layers as [{ searches: Record<string, unknown>[] }];
  assert.ok((layer_choices?.length ?? 0) >= 2);
  assert.equal(recordOf('basis').layer_choices, undefined);
  const { by, error, neighbours, others, pareto_front } = layer.searches[0] as unknown as {
    by: string;
    error: number;
    neighbours: number;
    others: { nsga2: number };
    pareto_front: unknown[];
  };
  assert.equal(by, 'exact');
  assert.ok(error <= others.nsga2 + 1e-12 && others.nsga2 <= neighbours + 1e-12);
  assert.ok(pareto_front.length >= 1);
});

test('wgqa trains all heads, and folds to gqa for measuring and for export', () => {
  const report = train('wgqa', ...converted('wgqa'));
  const meta = JSON.parse(fs.readFileSync(path.join(runsDir, 'smoke/wgqa/meta.json'), 'utf8'));
  assert.ok(meta.trained_kv_parameters > 2.9 * meta.kv_parameters);
  const best = report.best as { top1: number; loss: number };
  const { top1, loss } = run('eval', path.join(runsDir, 'smoke/wgqa'), '--split', 'val') as Record<string, number>;
  assert.equal(top1, best.top1);
  assert.ok(Math.abs((loss as number) - best.loss) < 1e-5);
  const file = path.join(runsDir, 'smoke/wgqa/checkpoints/best/model.safetensors');
  const out = path.join(runsDir, 'folded.safetensors');
  const sets = set('model.variant=gqa', 'model.heads=6');
  run('convert', '--checkpoint', file, '--config', CONFIG, '--out', out, ...sets);
  const card = readModelCard(openSafetensors(out));
  assert.equal(card?.variant, 'gqa');
  const folded = run('eval', '--checkpoint', out, '--config', CONFIG, '--split', 'val', ...sets) as Record<
    string,
    number
  >;
  assert.ok(Math.abs((folded.loss as number) - best.loss) < 1e-5);
});

test('convert follows grouping and merge, looks at images only where they ask, and reports each layer’s error', () => {
  const labels = path.join(runsDir, 'labels.json');
  fs.writeFileSync(
    labels,
    JSON.stringify({
      groups: [
        [0, 0, 0, 1, 1, 1],
        [0, 1, 0, 1, 0, 1],
      ],
    }),
  );
  const convert = (out: string, ...keys: string[]): Record<string, unknown> => {
    const to = path.join(runsDir, out);
    const sets = set('model.variant=gqa', 'model.heads=6', ...keys);
    return run('convert', '--checkpoint', mha, '--config', CONFIG, '--out', to, '--report', ...sets);
  };
  const found = convert('labels.safetensors', `model.grouping=${labels}`, 'model.kv_heads=null', 'data.root=nowhere');
  const card = readModelCard(openSafetensors(path.join(runsDir, 'labels.safetensors')));
  assert.deepEqual(
    [found.kv_heads, card?.model.grouping],
    [
      2,
      [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
      ],
    ],
  );
  const layers = convert('basis.safetensors', 'model.merge=basis', 'model.refit=output').layers as {
    error: { keys: number; values: number };
    refit: { before: number; after: number };
  }[];
  assert.equal(layers.length, 2);
  for (const { error, refit } of layers) {
    assert.ok(error.keys >= 0 && error.keys < 1 && error.values >= 0 && error.values < 1);
    assert.ok(refit.after <= refit.before);
  }
  const nowhere = gqa([
    ...['convert', '--checkpoint', mha, '--config', CONFIG, '--out', path.join(runsDir, 'none.safetensors')],
    ...set('model.variant=gqa', 'model.heads=6', 'model.merge=basis', 'data.root=nowhere'),
  ]);
  assert.equal(nowhere.code, 3, nowhere.stderr);
  assert.ok(!fs.existsSync(path.join(runsDir, 'none.safetensors')));
});

test('a sweep over names of methods', () => {
  const sets = set('model.heads=6', `model.pretrained=${mha}`);
  const args = ['--config', CONFIG, '--runs-dir', runsDir, '--name', 'methods', ...sets];
  const { points } = run('sweep', ...args, '--variants', 'mha,basis-budget', '--kv-heads', '3');
  assert.deepEqual(
    (points as { state: string }[]).map(({ state }) => state),
    Array(2).fill('done'),
  );
});

test('analyze: every combination’s error, accuracy and record, heat maps, and a table', () => {
  const out = path.join(runsDir, 'analysis');
  const args = ['analyze', '--checkpoint', mha, '--config', CONFIG, ...set('model.heads=6'), '--out', out];
  const ways = [
    '--groupings',
    'neighbours,qcqa-ac',
    '--merges',
    'mean,basis,basis+refit',
    '--kv-heads',
    '3,2',
    '--budgets',
    '5',
  ];
  const ran = gqa([...args, ...ways, '--accuracy']);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stdout, /Dimensions that hold 90 and 99 %/);
  assert.match(ran.stdout, /KV heads {2}grouping {2,}merge/);
  const { combinations, layers, top1_mha } = JSON.parse(fs.readFileSync(path.join(out, 'analysis.json'), 'utf8'));
  assert.equal(combinations.length, 18);
  assert.deepEqual([...new Set(combinations.map((row: { kv_heads: string }) => row.kv_heads))], ['3', '2', '5 in all']);
  assert.equal(layers.length, 2);
  assert.equal(typeof top1_mha, 'number');
  const of = (merge: string) => combinations.find((row: { merge: string }) => row.merge === merge);
  assert.ok(of('basis').layers[0].error.keys <= of('mean').layers[0].error.keys + 1e-9);
  assert.ok(of('basis+refit').layers[1].refit.after <= of('basis+refit').layers[1].refit.before);
  for (const by of ['weights', 'activations'])
    assert.match(
      fs.readFileSync(path.join(out, `similarity-${by}.svg`), 'utf8'),
      /<svg[\s\S]*layer 1, values[\s\S]*<\/svg>/,
    );
  const grouped = gqa(['analyze', path.join(runsDir, 'smoke/basis'), '--json']);
  assert.equal(grouped.code, 2);
  assert.match(grouped.stderr, /holds 6 heads with 2 KV heads \(basis\)/);
});

test('distillation from the model itself, by its features', () => {
  const keys = ['train.distill_from=self', 'train.distill=both', 'train.distill_features=l2'];
  const report = train('self', ...converted('basis', ...keys));
  assert.ok(Number.isFinite((report.best as { loss: number }).loss));
  const alone = gqa(['train', '--config', CONFIG, '--runs-dir', runsDir, ...set('train.distill_from=self')]);
  assert.equal(alone.code, 2);
  assert.match(alone.stderr, /distill_from is self, but there is no model\.pretrained/);
});
