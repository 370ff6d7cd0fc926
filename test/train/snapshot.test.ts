/**
 * Nothing that a later step depends on is out of reach: a state read in one process and filled in another goes on to
 * the byte.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { initialModel } from '../../src/model/params.js';
import { startBackend } from '../../src/native/backend.js';
import { teacherEntries } from '../../src/train/snapshot.js';
import { teacherShape } from '../../src/train/teacher.js';
import { createTrainer, type TrainerMode, type TrainerOptions } from '../../src/train/trainer.js';
import { loadInto, optionsOf, STEPS } from './models.js';
import { encodedSnapshot, type ResumeJob, trainBatches } from './resume-job.js';

const native = (await startBackend('auto')).name === 'tensorflow';
const skip = native ? false : 'compiled functions need the native runtime: npm run setup';
const child = fileURLToPath(new URL('./resume-child.js', import.meta.url));

const EVERYTHING: Partial<TrainerOptions> = {
  clipGrad: 0.5,
  gradAccumSteps: 3,
  ema: { decay: 0.8, warmup: true },
  freeze: 'head',
  distill: { weight: 0.3, temperature: 2, from: 'features', features: 'l2' },
};

/** Batches before the cut: in the middle of a step of three. */
const BEFORE = 8;

function assertResumes(options: TrainerOptions, mode: TrainerMode): void {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'gqa-snapshot-'));
  try {
    const trainer = createTrainer(options, mode);
    loadInto(trainer, options);
    if (options.distill !== null) trainer.restore(teacherEntries(initialModel(teacherShape(options.shape), 'mha', 8)));
    trainBatches(trainer, options, 0, BEFORE);
    const [state, result, jobFile] = ['state.safetensors', 'result.safetensors', 'job.json'].map((name) =>
      path.join(folder, name),
    ) as [string, string, string];
    const before = encodedSnapshot(trainer);
    writeFileSync(state, before);
    writeFileSync(jobFile, JSON.stringify({ options, mode, state, from: BEFORE, result } satisfies ResumeJob));
    const { status, stderr } = spawnSync(process.execPath, [child, jobFile], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    trainBatches(trainer, options, BEFORE, BEFORE + 5);
    const uninterrupted = encodedSnapshot(trainer);
    trainer.dispose();
    assert.ok(uninterrupted.equals(readFileSync(result)), 'the states differ');
    assert.ok(!uninterrupted.equals(before), 'five batches change the state');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const variant of STEPS) {
  test(
    `restored in a new process, five more batches give the same bytes, cut in the middle of a step: ${variant}`,
    {
      skip,
    },
    () => assertResumes(optionsOf(variant, { ...EVERYTHING, precision: 'float16' }), 'compiled'),
  );
}

test('the same operation by operation', () => assertResumes(optionsOf('dgqa-diff', EVERYTHING), 'eager'));

test('a state that lacks a tensor, has one too many or one of another size is refused', () => {
  const options = optionsOf('kdgqa');
  const trainer = createTrainer(options, 'eager');
  loadInto(trainer, options);
  const data = (size: number) => () => new Float32Array(size);
  assert.throws(() => trainer.restore([{ name: 'attention/0/norms', data: data(3) }]), /lacks attention\/1\/norms/);
  assert.throws(() => trainer.restore([{ name: 'sums', data: data(5) }]), /sums has 5 values, not \[4\]/);
  assert.throws(() => trainer.restore([{ name: 'ema/head.bias', data: data(7) }]), /no variable for ema\/head\.bias/);
  trainer.dispose();
});
