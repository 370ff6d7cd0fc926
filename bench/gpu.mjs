/**
 * What a step costs on a GPU, in one table to paste: every size × precision × compiler, beside timm's ViT in torch, eager
 * and through torch.compile, where python has them.
 *
 *   npm run bench:gpu -- [--device gpu|cpu] [--sizes overhead,small,base,large] [--precisions float32,bfloat16]
 *                        [--compilers tensorflow,xla] [--batch-size 64] [--steps 10] [--python python3]
 *
 * Milliseconds a step of the best round, MHA on both sides; “first”: seconds to the end of the first step, compiling
 * included. What fails says so in its cell, and the rest goes on.
 */
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startPeer } from './torch-peer.mjs';

const { values: args } = parseArgs({
  options: {
    device: { type: 'string', default: 'gpu' },
    sizes: { type: 'string', default: 'overhead,small,base,large' },
    precisions: { type: 'string', default: 'float32,bfloat16' },
    compilers: { type: 'string', default: 'tensorflow,xla' },
    'batch-size': { type: 'string', default: '64' },
    steps: { type: 'string', default: '10' },
    python: { type: 'string', default: 'python3' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));

/** As in the configs: what torch's side is told. */
const SIZES = {
  overhead: { config: 'bench-overhead', imageSize: 32, patchSize: 8, embedDim: 48, depth: 12, heads: 6, batch: 2 },
  small: { config: 'cifar10-small', imageSize: 224, patchSize: 16, embedDim: 384, depth: 12, heads: 6 },
  base: { config: 'cifar10-base', imageSize: 224, patchSize: 16, embedDim: 768, depth: 12, heads: 12 },
  large: { config: 'cifar10-large', imageSize: 224, patchSize: 16, embedDim: 1024, depth: 24, heads: 16 },
};

function ours(size, precision, compiler) {
  const { config, batch = Number(args['batch-size']) } = SIZES[size];
  const sets = [
    ...['model.variant=mha', 'model.kv_heads=null', 'model.pretrained=null', 'train.weight_decay=0.05'],
    ...[`train.precision=${precision}`, `train.compiler=${compiler}`],
  ].flatMap((set) => ['--set', set]);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...['bin/gqa.js', 'bench', 'step', '--config', `configs/${config}.yaml`, ...sets],
      ...['--batch-size', String(batch), '--steps', args.steps, '--rounds', '3', '--device', args.device, '--json'],
    ],
    { cwd: root, encoding: 'utf8' },
  );
  if (status !== 0) return { failed: stderr.trim().split('\n').find((line) => line.startsWith('gqa: ')) ?? `exit ${status}` };
  const found = JSON.parse(stdout.trim().split('\n').at(-1));
  return {
    train: found.train_ms_per_step,
    evaluate: (1000 * batch) / found.eval_images_per_s,
    first: found.start_s + found.first_step_s,
    device: found.device,
  };
}

async function torch(size, precision, compile) {
  const { config: _, batch = Number(args['batch-size']), ...sizes } = SIZES[size];
  const device = args.device === 'gpu' ? 'cuda' : 'cpu';
  const asked = { peer: 'timm', ...sizes, batch, classes: 10, lr: 1e-5, weightDecay: 0.05, clip: null, ema: null };
  const { started, ask, kill } = startPeer(args.python, { ...asked, seed: 1, precision, compile, device }, 'ignore');
  try {
    const about = await started;
    const begun = performance.now();
    await ask({ train: 1 });
    const first = (performance.now() - begun) / 1000;
    const rounds = { train: [], evaluate: [] };
    for (const what of ['train', 'evaluate']) {
      await ask({ [what]: 2 });
      for (let i = 0; i < 3; i++) rounds[what].push((await ask({ [what]: Number(args.steps) })).ms);
    }
    return { train: Math.min(...rounds.train), evaluate: Math.min(...rounds.evaluate), first, device: about.torch };
  } catch (error) {
    return { failed: error.message };
  } finally {
    kill();
  }
}

const cell = (value) => (value === undefined ? '' : value >= 100 ? value.toFixed(0) : value.toFixed(1));
const row = (cells) => console.log(`| ${cells.join(' | ')} |`);
const gpu = spawnSync('nvidia-smi', ['--query-gpu=name,driver_version', '--format=csv,noheader'], { encoding: 'utf8' });
console.log(`${gpu.stdout?.trim() || 'no GPU'}; ${os.cpus()[0].model}; ${new Date().toISOString().slice(0, 10)}\n`);
row(['size', 'batch', 'precision', 'what', 'train, ms', 'evaluate, ms', 'first, s', 'versions']);
row(Array(8).fill('---'));
for (const size of args.sizes.split(','))
  for (const precision of args.precisions.split(',')) {
    const ways = [
      ...args.compilers.split(',').map((compiler) => [`gqa, ${compiler}`, () => ours(size, precision, compiler)]),
      ['timm, eager', () => torch(size, precision, false)],
      ['timm, torch.compile', () => torch(size, precision, true)],
    ];
    for (const [what, measure] of ways) {
      const { failed, train, evaluate, first, device } = await measure();
      const { batch = args['batch-size'] } = SIZES[size];
      row([size, batch, precision, what, failed ?? cell(train), cell(evaluate), cell(first), device ?? '']);
    }
  }
