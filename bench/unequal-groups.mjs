/**
 * What unequal groups, and values grouped apart, cost beside equal groups of as many KV heads: steps and evaluated
 * batches of both in one process, taking turns.
 *
 *   node bench/unequal-groups.mjs --config FILE --kv-heads 3 --groups '[0,0,0,1,1,2]' [--value-groups '[0,0,1,1,2,2]']
 *                                 [--set key=value …] [--batch-size N] [--pairs 15] [--steps 3]
 *
 * The groups are those of every layer. A ratio is the time with them by that of equal neighbours: above 1, they cost
 * more.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { modeOf } from '../dist/src/commands/data-and-backend.js';
import { openStepBench } from '../dist/src/commands/step-bench.js';
import { readConfig } from '../dist/src/config/load.js';
import { startBackend } from '../dist/src/native/backend.js';

const { values: args } = parseArgs({
  options: {
    config: { type: 'string' },
    set: { type: 'string', multiple: true, default: [] },
    'kv-heads': { type: 'string' },
    groups: { type: 'string' },
    'value-groups': { type: 'string' },
    'batch-size': { type: 'string', default: '8' },
    pairs: { type: 'string', default: '15' },
    steps: { type: 'string', default: '3' },
  },
});
const mode = modeOf(await startBackend('auto'), 'auto', false);
const sets = ['model.variant=gqa', 'model.pretrained=null', 'model.merge=mean', ...args.set];
const equal = readConfig(args.config, [...sets, `model.kv_heads=${args['kv-heads']}`]).config;
const file = path.join(mkdtempSync(path.join(os.tmpdir(), 'gqa-groups-')), 'groups.json');
const layers = (groups) => Array.from({ length: equal.model.depth }, () => JSON.parse(groups));
const apart = args['value-groups'] === undefined ? {} : { value_groups: layers(args['value-groups']) };
writeFileSync(file, JSON.stringify({ groups: layers(args.groups), ...apart }));
const unequal = readConfig(args.config, [...sets, 'model.kv_heads=null', `model.grouping=${file}`]).config;

const size = Number(args['batch-size']);
const both = [await openStepBench(equal, mode, size), await openStepBench(unequal, mode, size)];
for (const bench of both) {
  await bench.train(2);
  await bench.evaluate(2);
}
const steps = Number(args.steps);
const ratios = { train: [], evaluate: [] };
for (let pair = 0; pair < Number(args.pairs); pair++)
  for (const what of ['train', 'evaluate']) {
    const order = pair % 2 === 0 ? [0, 1] : [1, 0];
    const took = [0, 0];
    for (const i of order) took[i] = await both[i][what](steps);
    ratios[what].push(took[1] / took[0]);
  }
for (const [what, all] of Object.entries(ratios)) {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))].toFixed(3);
  console.log(`${what}: median ratio ${at(0.5)}, quartiles ${at(0.25)} and ${at(0.75)}, ${all.length} pairs`);
}
process.exit(0);
