/**
 * A training step, or an evaluated batch, against PyTorch on the same machine, taking turns: the paper's own code or
 * timm.
 *
 *   node bench/step-vs-torch.mjs --config FILE --paper FOLDER [--set key=value …] [--python python3] [--peer
 * paper|timm] [--batch-size N] [--pairs 7] [--steps 3]
 *                                [--clip NORM] [--ema DECAY] [--compile] [--what train,evaluate] [--json]
 *
 * FOLDER: a checkout of the paper's code (zohaib-khan5040/key-driven-gqa); python needs torch and timm (and einops for
 * the paper's code). Both sides have the same sizes, batch and AdamW, fresh weights and random images; ours gets bytes
 * and normalises them. With train.precision bfloat16 torch's is under autocast; --compile: through torch.compile. A pair is one round of each; the ratio of a pair is torch's time by ours, above 1: ours is
 * faster. `product_gflops` is what each side's library makes of a plain square matrix product: on some processors that
 * alone is most of the difference. Ours runs in a process of its own (the one that prints), so that the peaks of memory
 * are each side's own.
 */
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { modeOf } from '../dist/src/commands/data-and-backend.js';
import { openStepBench } from '../dist/src/commands/step-bench.js';
import { readConfig } from '../dist/src/config/load.js';
import { startBackend } from '../dist/src/native/backend.js';
import { startPeer } from './torch-peer.mjs';

const { values: args } = parseArgs({
  options: {
    config: { type: 'string' },
    set: { type: 'string', multiple: true, default: [] },
    paper: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    peer: { type: 'string', default: 'paper' },
    'batch-size': { type: 'string' },
    pairs: { type: 'string', default: '7' },
    steps: { type: 'string', default: '3' },
    what: { type: 'string', default: 'train,evaluate' },
    clip: { type: 'string' },
    ema: { type: 'string' },
    compile: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
if (args.config === undefined || (args.peer === 'paper' && args.paper === undefined)) {
  console.error('step-vs-torch needs --config FILE, and --paper FOLDER unless --peer timm');
  process.exit(2);
}

/** Our variants → the paper's schemes. */
const SCHEMES = { mha: 'mhsa', gqa: 'gqa', kdgqa: 'kdgqa', 'dgqa-diff': 'dgqa_diff', 'dgqa-ema': 'dgqa_ema', pgqa: 'pgqa' };

const options = [
  ...(args.clip === undefined ? [] : [`train.clip_grad=${args.clip}`]),
  ...(args.ema === undefined ? [] : [`train.ema_decay=${args.ema}`]),
];
const { config } = readConfig(args.config, [...args.set, ...options]);
const { model, train } = config;
const batch = Number(args['batch-size'] ?? train.batchSize);
const number = (text) => (text === undefined ? null : Number(text));

const peer = startPeer(args.python, {
  peer: args.peer,
  paper: args.paper,
  scheme: SCHEMES[model.variant],
  heads: model.heads,
  kvHeads: model.kvHeads,
  embedDim: model.embedDim,
  depth: model.depth,
  imageSize: model.imageSize,
  patchSize: model.patchSize,
  classes: 10,
  batch,
  lr: 1e-5,
  weightDecay: train.weightDecay,
  clip: number(args.clip),
  ema: number(args.ema),
  seed: config.seed,
  precision: train.precision,
  compile: args.compile,
});
const about = await peer.started;
const backend = await startBackend('native');
const mode = modeOf(backend, train.compiler, false);
const ours = await openStepBench(config, mode, batch);

const steps = Number(args.steps);
const rounds = { train: [], evaluate: [] };
for (const what of args.what.split(',')) {
  await ours[what](2);
  await peer.ask({ [what]: 2 });
  for (let pair = 0; pair < Number(args.pairs); pair++) {
    await setTimeout(300); // threads of the other side that still spin
    const mine = await ours[what](steps);
    await setTimeout(300);
    const { ms } = await peer.ask({ [what]: steps });
    rounds[what].push({ ours: mine, torch: ms, ratio: ms / mine });
  }
}
const memory = { ours: process.resourceUsage().maxRSS / 1e3, torch: (await peer.ask({ memory: true })).peakMb };
const SIDE = 2048;
const product = { ours: productGflops(SIDE), torch: (await peer.ask({ product: SIDE })).gflops };
peer.end();
ours.dispose();

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const figure = (value) => Number(value.toPrecision(4));
const result = {
  peer: args.peer,
  mode,
  precision: train.precision,
  torch: about.torch,
  threads: about.threads,
  device: `${backend.name} ${backend.version} ${backend.device}`,
  variant: model.variant,
  kv_heads: model.kvHeads,
  batch_size: batch,
  pairs: Number(args.pairs),
};
for (const [what, list] of Object.entries(rounds)) {
  if (list.length === 0) continue;
  result[what] = {
    ours_ms: figure(median(list.map((pair) => pair.ours))),
    torch_ms: figure(median(list.map((pair) => pair.torch))),
    ratio: figure(median(list.map((pair) => pair.ratio))),
    ratios: list.map((pair) => figure(pair.ratio)),
  };
}
result.product_gflops = { ours: figure(product.ours), torch: figure(product.torch), ratio: figure(product.ours / product.torch) };
result.peak_mb = { ours: figure(memory.ours), torch: figure(memory.torch), ratio: figure(memory.torch / memory.ours) };
console.log(args.json ? JSON.stringify(result) : result);
process.exit(0);

/** Of a square float32 product, the best of six. */
function productGflops(side) {
  return tf.tidy(() => {
    const [a, b] = [tf.randomUniform([side, side]), tf.randomUniform([side, side])];
    const times = Array.from({ length: 6 }, () => {
      const started = performance.now();
      tf.matMul(a, b).dataSync();
      return performance.now() - started;
    });
    return (2 * side ** 3) / Math.min(...times) / 1e6;
  });
}
