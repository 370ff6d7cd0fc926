/**
 * Run by snapshot.test.ts in a process of its own: a state from a file, five more batches, the state that comes of it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { openSafetensors, readTensor } from '../../src/checkpoint/safetensors.js';
import { startBackend } from '../../src/native/backend.js';
import { createTrainer } from '../../src/train/trainer.js';
import { encodedSnapshot, type ResumeJob, trainBatches } from './resume-job.js';

const [, , jobFile] = process.argv;
const { options, mode, state, from, result } = JSON.parse(readFileSync(jobFile as string, 'utf8')) as ResumeJob;
await startBackend('auto');
const trainer = createTrainer(options, mode);
const file = openSafetensors(state);
trainer.restore([...file.tensors.keys()].map((name) => ({ name, data: () => readTensor(file, name) })));
trainBatches(trainer, options, from, from + 5);
writeFileSync(result, encodedSnapshot(trainer));
trainer.dispose();
