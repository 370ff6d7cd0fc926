/**
 * How much memory it takes to write a trainer's whole state to a file and to read it back: a ViT with moments and moving
 * averages. Every tensor goes by itself, so that the peak is little above what the trainer holds.
 *   node bench/snapshot-memory.mjs [--size large] [--folder FOLDER]
 * --size: small, base or large. The file is written to FOLDER (the system's folder for temporary files when left out) and
 * removed. `npm run setup` first.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openSafetensors, readTensor } from '../dist/src/checkpoint/safetensors.js';
import { writeSafetensors } from '../dist/src/checkpoint/write-safetensors.js';
import { parseConfig } from '../dist/src/config/load.js';
import { writeFileAtomic } from '../dist/src/files/atomic.js';
import { initialAttention } from '../dist/src/model/attention-state.js';
import { parameterSpecs } from '../dist/src/model/params.js';
import { startBackend } from '../dist/src/native/backend.js';
import { shapeOf } from '../dist/src/train/model.js';
import { stepOptions } from '../dist/src/train/ready.js';
import { createTrainer } from '../dist/src/train/trainer.js';

const { values } = parseArgs({ options: { size: { type: 'string', default: 'large' }, folder: { type: 'string' } } });
const backend = await startBackend('native');
const { config } = parseConfig(
  `data: { name: cifar10 }\nmodel: { size: ${values.size}, variant: mha }\ntrain: { ema_decay: 0.9998 }\n`,
  'bench.yaml',
  [],
);
const shape = shapeOf(config.model, 10);
const variant = 'mha';
const trainer = createTrainer(
  { ...stepOptions(config), shape, variant, batchSize: 1, evalBatchSize: 1, height: 224, width: 224 },
  'compiled',
);
const specs = Object.entries(parameterSpecs(shape, variant));
// one tensor of each size is enough: the variables take copies
const zeros = new Map();
const zerosOf = (size) => zeros.get(size) ?? zeros.set(size, new Float32Array(size)).get(size);
const model = Object.fromEntries(specs.map(([name, spec]) => [name, zerosOf(spec.shape.reduce((a, b) => a * b, 1))]));
trainer.begin({ values: model, attention: initialAttention(shape, variant) });
trainer.snapshot().dispose(); // moments are made when they are first asked for

const mb = (bytes) => Math.round(bytes / 1e6);
let peak = 0;
const look = () => {
  peak = Math.max(peak, process.memoryUsage.rss());
};
const phase = (name, work) => {
  const before = process.memoryUsage.rss();
  peak = before;
  const started = performance.now();
  work();
  look();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${name}: ${mb(before)} MB before, ${mb(peak)} MB at most, ${seconds} s`);
};

const folder = mkdtempSync(path.join(values.folder ?? os.tmpdir(), 'gqa-state-'));
const file = path.join(folder, 'state.safetensors');
const writing = () => {
  const snapshot = trainer.snapshot();
  const tensors = snapshot.values.map(({ data, ...value }) => ({
    ...value,
    data() {
      look();
      return data();
    },
  }));
  writeFileAtomic(file, (write) => writeSafetensors(write, tensors));
  snapshot.dispose();
};

try {
  console.log(`${backend.version}, ${os.cpus()[0]?.model}, Node ${process.version}, ViT ${values.size}`);
  phase('writing a fresh state, whose variables still share memory', writing);
  console.log(`file: ${mb(statSync(file).size)} MB`);
  phase('reading', () => {
    const opened = openSafetensors(file);
    trainer.restore(
      [...opened.tensors.keys()].map((name) => ({
        name,
        data() {
          look();
          return readTensor(opened, name);
        },
      })),
    );
  });
  phase('writing, every variable its own', writing);
} finally {
  rmSync(folder, { recursive: true });
  trainer.dispose();
}
