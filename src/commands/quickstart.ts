/**
 * `gqa quickstart`: the main job in small, on the images that come with the project: train MHA, evaluate it, convert
 * it, uptrain every variant for the same budget, compare, report.
 */
import path from 'node:path';
import type { Config } from '../config/schema.js';
import { projectFile } from '../invocation.js';
import { startBackend } from '../native/backend.js';
import type { Stop } from '../run/interrupt.js';
import { timeStamp } from '../run/time-stamp.js';
import { packageRoot } from '../version.js';
import { evaluate } from './eval.js';
import { report } from './report.js';
import { say, sayNext } from './say.js';
import { sweep } from './sweep.js';
import { train } from './train.js';

const fromRoot = (file: string): string => path.join(packageRoot, file);

/**
 * On wasm a step takes several times longer: the job is cut, and its first line says so. Of 320 images 64 are the
 * validation part.
 */
const SMALLER = [
  'data.limit={train: 320, test: 200}',
  'data.val_fraction=0.2',
  'train.epochs=1',
  'train.warmup_steps=0',
];

export interface QuickstartOptions {
  runsDir: string;
  device?: Config['device'];
  /** Over the quickstart's own settings, for training and uptraining alike. */
  set: string[];
}

/** Runs go to `runsDir`; the comparison is printed, and a report written, at the end. About 2 minutes on 2 cores. */
export async function quickstart({ runsDir, device = 'auto', set }: QuickstartOptions, stop: Stop): Promise<void> {
  const { name: backend, notice } = await startBackend(device);
  const smaller = backend === 'wasm';
  const own = [`device=${device}`, `data.root=${JSON.stringify(fromRoot('datasets/fashion-mnist-subset'))}`];
  const sets = [...own, ...(smaller ? SMALLER : []), ...set];
  say(
    smaller
      ? `quickstart, made smaller for wasm: 256 training and 200 test images, one epoch, so that its accuracies say little${notice === null ? '' : ` (${notice})`}`
      : 'quickstart: 2,000 training images, 200 of them for validation, and 1,000 test images of Fashion-MNIST',
  );
  say('\n1. Train a small ViT with multi-head attention (MHA) from scratch');
  const mha = await train(
    { config: fromRoot('configs/quickstart/mha.yaml'), set: sets, runsDir, eager: false, json: false },
    stop,
  );
  say('\n2. Evaluate its best checkpoint on the validation part');
  await evaluate({ run: mha.run, set: [], split: 'val', eager: false, json: false }, stop);
  say(
    '\n3. Convert it to GQA variants, evaluate them as converted, uptrain each, beside MHA uptrained for the same budget',
  );
  const name = `quickstart-uptrain-${timeStamp()}`;
  await sweep(
    {
      config: fromRoot('configs/quickstart/uptrain.yaml'),
      set: [...sets, `model.pretrained=${JSON.stringify(path.resolve(mha.run, 'checkpoints/best/model.safetensors'))}`],
      variants: ['mha', 'gqa', 'dgqa-ema'],
      name,
      ...(smaller ? { device: 'wasm' } : {}), // the reason was reported: no need to tell it for each run
      runsDir,
      json: false,
    },
    stop,
  );
  say(
    `\ntop-1 as converted and after: validation part; test top-1: the best epoch of each. One seed and few images: see ${projectFile('README.md')} for what such differences mean.`,
  );
  say('\n4. One file to look at: leaderboard, curves, groups of heads, pictures that changed');
  const folder = path.join(runsDir, name);
  const out = path.join(folder, 'report.html');
  await report({ folders: [folder], out }, stop);
  say(`open it in a browser: ${path.resolve(out)}`);
  sayNext('config init --data cifar100 --size small --out mine.yaml');
}
