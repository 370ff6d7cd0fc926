/** Sweeps that nobody ran, as their folders would be: figures from a seed. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { draws } from '../../src/random.js';

export const HOSTILE = `<img src=x onerror="alert(1)">&'`;

/**
 * @param folder is made
 * @param seeds of each method; 0: a plan without a single run that has begun
 */
export function madeUpSweep(
  folder: string,
  methods: readonly [variant: string, kvHeads: number][],
  seeds: number,
): void {
  const from = draws(3, 'made-up');
  mkdirSync(folder, { recursive: true });
  const plan: object[] = [];
  for (const [i, [variant, kvHeads]] of methods.entries())
    for (let seed = 0; seed < Math.max(1, seeds); seed++) {
      const runName = `${variant}-kv${kvHeads}-s${seed}`;
      plan.push({ variant, kvHeads, seed, axes: {}, runName });
      if (seeds > 0)
        run(path.join(folder, runName), variant, kvHeads, seed, 0.8 - i / 50 + (from.normals(1)[0] as number) / 100);
    }
  writeFileSync(path.join(folder, 'plan.jsonl'), plan.map((point) => `${JSON.stringify(point)}\n`).join(''));
}

function run(folder: string, variant: string, kvHeads: number, seed: number, top1: number): void {
  mkdirSync(path.join(folder, 'test'), { recursive: true });
  const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);
  const json = (name: string, value: object): void => write(name, JSON.stringify(value));
  write(
    'config.yaml',
    `name: made-up\nseed: ${seed}\ndata: {name: cifar10}\nmodel: {size: small, variant: ${variant}, kv_heads: ${kvHeads}}\n`,
  );
  json('status.json', { state: 'done', epoch: 2, step: 20, updated: '2026-11-27T10:00:00Z' });
  json('meta.json', {
    ...{
      cpu: HOSTILE,
      cores: 2,
      device: 'cpu',
      versions: { gqa: '0.1.0' },
      git: { commit: '0123456789abcdef', dirty: true },
    },
    grouping: Array.from({ length: 2 }, () => Array.from({ length: 6 }, (_, head) => Math.floor((head * kvHeads) / 6))),
  });
  write(
    'results.csv',
    [
      'row,epoch,step,time_s,train_loss,val_top1,test_top1,images_per_s,data_wait',
      ...[0, 1, 2].map(
        (epoch) => `epoch,${epoch},${epoch * 10},${epoch * 30},1.5,${(top1 * (epoch + 1)) / 3},,40,0.01`,
      ),
      `best,2,20,70,,,${top1},,`,
      '',
    ].join('\n'),
  );
  json('report.json', {
    ...{ run: folder, kv_parameters: 100_000 * kvHeads, converted: { top1: top1 / 3 }, train_images_per_s: 40 },
    ...{
      best: { epoch: 2, top1, loss: 0.5 },
      test: { top1, top5: 0.99, loss: 0.6 },
      warnings: [`a doubt: ${HOSTILE}`],
    },
  });
  const quoted = `"${HOSTILE.replaceAll('"', '""')}"`;
  write('test/confusion.csv', `class,images,top1,${quoted},dog\n${quoted},3,0.666,2,1\ndog,2,1,0,2\n`);
}
