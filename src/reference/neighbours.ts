/**
 * Compares groupings, merges and WGQA with numbers that the methods' public code gave, or a computation in float64
 * where there is none, in the form that test/reference/README.md describes.
 */
import path from 'node:path';
import { readCheckpoint } from '../checkpoint/read.js';
import { openSafetensors, readTensor } from '../checkpoint/safetensors.js';
import { STATISTICS } from '../convert/statistics.js';
import { gatherStatistics } from '../train/statistics.js';
import type { TrainerMode } from '../train/trainer.js';
import { attempt, type CaseResult, run } from './case.js';
import { relativeDeviation } from './deviation.js';
import { imagesOf, shapeOf } from './inputs.js';
import { logitsOf } from './logits.js';
import { compareConversion } from './neighbours/conversion.js';
import { compareAsym, compareQcqa, compareStage2 } from './neighbours/groupings.js';
import { compareAttentionBasis, compareBasis, compareRotation } from './neighbours/merges.js';
import type { Vectors } from './neighbours/vectors.js';
import { compareWgqa } from './neighbours/wgqa.js';
import { readNeighboursIndex } from './neighbours-index.js';

/** @throws GqaError when the directory is not of this kind */
export async function* compareNeighbours(dir: string, mode: TrainerMode): AsyncGenerator<CaseResult> {
  const index = readNeighboursIndex(path.join(dir, 'index.json'));
  const inputs = attempt('inputs', () => readVectors(dir, index, mode));
  if ('detail' in inputs) {
    yield inputs;
    return;
  }
  const of: Vectors = { ...inputs.value, statistics: await statisticsOf(inputs.value) };
  yield run('mha', () => [
    { what: 'logits', deviation: relativeDeviation(logitsOf(of.mha, of.images, mode), of.mhaLogits), tolerance: 1e-4 },
  ]);
  for (const layer of index.qcqa.layers.keys()) yield run(`qcqa_layer_${layer}`, () => compareQcqa(of, layer));
  yield run('qcqa_stage2', () => compareStage2(of));
  for (const layer of index.asymgqa.layers.keys()) yield run(`asymgqa_layer_${layer}`, () => compareAsym(of, layer));
  for (const each of index.conversion) yield run(`conversion_${each.name}`, () => compareConversion(of, each));
  for (const each of index.rotation) yield run(`rotation_${each.name}`, () => compareRotation(of, each));
  for (const each of index.sharedBasis) yield run(`shared_basis_${each.name}`, () => compareBasis(of, each));
  for (const each of index.sharedBasisAttention)
    yield run(`shared_basis_attention_${each.name}`, () => compareAttentionBasis(of, each));
  for (const each of index.wgqa) yield run(`wgqa_${each.name}`, () => compareWgqa(of, each));
  of.images.dispose();
}

function readVectors(
  dir: string,
  index: ReturnType<typeof readNeighboursIndex>,
  mode: TrainerMode,
): Omit<Vectors, 'statistics'> {
  const shape = shapeOf(index, index.model.numHeads);
  const file = openSafetensors(path.join(dir, 'inputs.safetensors'));
  const images = imagesOf(file, index, file.tensors.get('labels')?.shape[0] as number);
  const { values } = readCheckpoint(path.join(dir, 'mha_timm.safetensors'), shape, 0);
  return {
    dir,
    index,
    mode,
    images,
    mha: { values, shape },
    labels: Int32Array.from(readTensor(file, 'labels')),
    mhaLogits: readTensor(file, 'mha_logits'),
  };
}

/** Of the MHA model on all images. */
async function statisticsOf({ mha, images, mode }: Omit<Vectors, 'statistics'>): Promise<Vectors['statistics']> {
  const [count, height, width] = images.shape as [number, number, number];
  const pixels = (await images.data()) as Float32Array;
  async function* all() {
    yield { pixels, weights: new Float32Array(count).fill(1), images: count };
  }
  return gatherStatistics(mha, STATISTICS, { batchSize: count, height, width, pixels: null }, all(), mode);
}
