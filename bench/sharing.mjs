/**
 * Uptrains every way of sharing heads under one budget, over seeds, and prints mean and standard deviation: the tables of
 * docs/results.md.
 *
 *   node bench/sharing.mjs --config FILE --checkpoint FILE --data FOLDER --kv-heads 3,2 [--seeds 0,1,2] --out FOLDER
 *                          [--set key=value …] [--variants mha,gqa,…] [--json]
 *
 * Three sweeps of `gqa sweep` for each seed: methods by their names; the shared basis with its output projections fitted
 * again; and the shared basis learning from the MHA control of the same seed. A sweep that is there is not run again, so
 * that what was broken off goes on with the next one, and seeds can be added later.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
  options: {
    config: { type: 'string' },
    checkpoint: { type: 'string' },
    data: { type: 'string' },
    'kv-heads': { type: 'string' },
    seeds: { type: 'string', default: '0,1,2' },
    variants: { type: 'string', default: 'mha,gqa,dgqa-ema,kdgqa,wgqa,qcqa,asymgqa,rotated,basis,basis-budget' },
    set: { type: 'string', multiple: true, default: [] },
    out: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
for (const needed of ['config', 'checkpoint', 'data', 'kv-heads', 'out'])
  if (args[needed] === undefined) throw new Error(`--${needed} is missing`);

const cli = fileURLToPath(new URL('../dist/src/cli.js', import.meta.url));

/** @returns rows of the sweep's leaderboard */
function sweep(name, variants, sets, seed) {
  const leaderboard = path.join(args.out, name, 'leaderboard.csv');
  if (!existsSync(leaderboard)) {
    const all = [`model.pretrained=${args.checkpoint}`, `data.root=${args.data}`, ...args.set, ...sets];
    const { status } = spawnSync(
      process.execPath,
      [
        ...[cli, 'sweep', '--config', args.config, '--name', name, '--runs-dir', args.out, '--seeds', seed],
        ...['--variants', variants, '--kv-heads', args['kv-heads'], ...all.flatMap((set) => ['--set', set])],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    if (status !== 0) throw new Error(`the sweep ${name} ended with exit code ${status}`);
  }
  const [head, ...lines] = readFileSync(leaderboard, 'utf8').trim().split('\n');
  const names = head.split(',');
  return lines.map((line) => Object.fromEntries(line.split(',').map((cell, i) => [names[i], cell])));
}

const rows = [];
const add = (method, found) => rows.push(...found.map((row) => ({ method, ...row })));
for (const seed of args.seeds.split(',')) {
  const methods = sweep(`methods-${seed}`, args.variants, [], seed);
  for (const row of methods) add(row.variant, [row]);
  add('basis + refit', sweep(`refit-${seed}`, 'basis', ['model.refit=output'], seed));
  const control = methods.find((row) => row.variant === 'mha');
  const teacher = path.resolve(control.run, 'checkpoints/best/model.safetensors');
  const distilled = ['model.refit=output', `train.distill_from=${teacher}`, 'train.distill=both'];
  add('basis + refit + distillation', sweep(`distilled-${seed}`, 'basis', distilled, seed));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const spread = (values) =>
  Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / Math.max(1, values.length - 1));
const figure = (values) => `${(100 * mean(values)).toFixed(2)}${values.length > 1 ? ` ± ${(100 * spread(values)).toFixed(2)}` : ''}`;
const groups = new Map();
for (const row of rows) {
  const key = `${row.method},${row.kv_heads}`;
  groups.set(key, [...(groups.get(key) ?? []), row]);
}
const table = [...groups.values()].map((of) => ({
  method: of[0].method,
  kv_heads: Number(of[0].kv_heads),
  seeds: of.length,
  converted: figure(of.map((row) => Number(row.top1_converted))),
  test: figure(of.map((row) => Number(row.top1_test))),
}));
if (args.json) console.log(JSON.stringify(table));
else {
  console.log('| method | KV heads | seeds | validation top-1 as converted, % | test top-1 after, % |\n|---|---|---|---|---|');
  for (const { method, kv_heads, seeds, converted, test } of table)
    console.log(`| ${method} | ${kv_heads} | ${seeds} | ${converted} | ${test} |`);
}
