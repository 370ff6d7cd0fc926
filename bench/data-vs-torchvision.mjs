/**
 * The input pipeline against torchvision's DataLoader doing the paper's (RandAugment, Resize to 224, ToTensor,
 * Normalize) on the same machine, taking turns.
 *
 *   node bench/data-vs-torchvision.mjs --kind cifar --folder FOLDER [--python python3] [--workers 2] [--pairs 5]
 * [--images N] [--cache FOLDER] [--json]
 *   node bench/data-vs-torchvision.mjs --kind folder --folder FOLDER …
 *
 * cifar: FOLDER holds CIFAR-10's official binary version; folder: FOLDER/{train,test}/<class>/*. python needs torch and
 * torchvision. A pair is one pass of each over N images (of a model of 224 pixels, batch 32); the figure is the median
 * of the pairs' ratios, above 1: ours is faster. Ours hands over bytes, which the device normalises (and enlarges, if
 * small).
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openDataBench } from '../dist/src/commands/bench-data.js';
import { readConfig } from '../dist/src/config/load.js';

const { values: args } = parseArgs({
  options: {
    kind: { type: 'string' },
    folder: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    workers: { type: 'string', default: '2' },
    pairs: { type: 'string', default: '5' },
    images: { type: 'string' },
    cache: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
if (!['cifar', 'folder'].includes(args.kind) || args.folder === undefined) {
  console.error('data-vs-torchvision needs --kind cifar or folder, and --folder FOLDER');
  process.exit(2);
}

const BATCH = 32;
const name = args.kind === 'cifar' ? 'cifar10' : 'image-folder';
const config = fileURLToPath(new URL('../configs/cifar10-small.yaml', import.meta.url));
const sets = ['model.pretrained=null', `data.name=${name}`, `data.root=${args.folder}`, 'data.augment=paper', `data.workers=${args.workers}`];
const cache = args.cache === undefined ? [] : [`data.cache=${args.cache}`];
const ours = await openDataBench(readConfig(config, [...sets, ...cache]).config, BATCH);
const batches = Math.floor(Math.min(Number(args.images ?? (args.kind === 'cifar' ? 4000 : 100_000)), ours.images) / BATCH);

const script = fileURLToPath(new URL('torchvision_loader.py', import.meta.url));
const peer = spawn(args.python, [script, args.kind, args.folder, '--workers', args.workers, '--batch-size', String(BATCH)], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
const said = async () => {
  const { value, done } = await lines.next();
  if (done) throw new Error('python ended: see what it wrote');
  return JSON.parse(value);
};
const about = await said();
const theirs = async () => {
  peer.stdin.write(`go ${batches * BATCH}\n`);
  return (await said()).images_per_s;
};

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
await ours.round(batches);
await theirs();
const pairs = [];
for (let pair = 0; pair < Number(args.pairs); pair++) pairs.push([await ours.round(batches), await theirs()]);
const report = {
  kind: args.kind,
  images: batches * BATCH,
  workers: Number(args.workers),
  cache: args.cache !== undefined,
  images_per_s: Math.round(median(pairs.map(([rate]) => rate))),
  torchvision_images_per_s: Math.round(median(pairs.map(([, rate]) => rate))),
  ratio: Number(median(pairs.map(([rate, other]) => rate / other)).toFixed(2)),
  ratios: pairs.map(([rate, other]) => Number((rate / other).toFixed(2))),
  torchvision: about.torchvision,
};
console.log(args.json ? JSON.stringify(report) : Object.entries(report).map(([key, value]) => `${key} ${value}`).join(' · '));
peer.stdin.end();
await ours.close();
