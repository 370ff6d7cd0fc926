/** Mean pooling by any labels: layers that differ, a layer left as it is, keys and values grouped apart. */
import path from 'node:path';
import { openSafetensors, readTensor } from '../../checkpoint/safetensors.js';
import { regroup } from '../../convert/convert.js';
import { mean } from '../../convert/merges/mean.js';
import type { Check } from '../case.js';
import { largest, largestDifference } from '../deviation.js';
import { logitsOf } from '../logits.js';
import type { NeighboursIndex } from '../neighbours-index.js';
import type { Vectors } from './vectors.js';

export function compareConversion(
  { dir, mha, images, mode }: Vectors,
  { name, labels, valueLabels }: NeighboursIndex['conversion'][number],
): Check[] {
  const file = openSafetensors(path.join(dir, 'conversion.safetensors'));
  const groups = labels.map((keys, i) => ({ keys, values: valueLabels?.[i] ?? keys }));
  const logits = readTensor(file, `${name}.logits`);
  const asGiven = regroup(mha.values, mha.shape, groups, mean, null, false);
  const arranged = regroup(mha.values, mha.shape, groups, mean);
  const weights = [...file.tensors.keys()]
    .filter((tensor) => tensor.startsWith(`${name}.blocks.`))
    .map((tensor) => largestDifference(asGiven.values[tensor.slice(name.length + 1)] ?? [], readTensor(file, tensor)));
  return [
    { what: 'weights', deviation: largest(weights), tolerance: 1e-6 },
    { what: 'logits', deviation: largestDifference(logitsOf(asGiven, images, mode), logits), tolerance: 1e-4 },
    { what: 'side by side', deviation: largestDifference(logitsOf(arranged, images, mode), logits), tolerance: 1e-4 },
  ];
}
