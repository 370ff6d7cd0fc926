/** The tensors of a small MHA model, as timm stores them. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type CardContent, writeModel } from '../../src/checkpoint/model-file.js';
import { encodeSafetensors, type TensorData } from '../../src/checkpoint/write-safetensors.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialValues, parameterSpecs } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';

export const mha: ModelShape = {
  imageSize: 16,
  patchSize: 8,
  embedDim: 12,
  depth: 2,
  heads: 6,
  grouping: neighbours(2, 6, 6),
  mlpRatio: 2,
  numClasses: 5,
};

export type Tensors = Record<string, TensorData>;

/** Zeros but for a ramp, so that no two values are alike. */
export const filled = (...shape: number[]): TensorData => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, i) => 0.01 * (i % 97)),
});

/** q, k and v fused. */
export function timmTensors(change: (tensors: Tensors) => unknown = () => {}): Tensors {
  const tensors: Tensors = {};
  for (const [name, { shape }] of Object.entries(parameterSpecs(mha))) {
    const data = initialValues(name, mha, 8).map((value, i) => value + 0.001 * (i % 7));
    const part = /^(.*\.attn\.)([qkv])(\.\w+)$/.exec(name);
    if (part === null) {
      tensors[name] = { shape, data };
      continue;
    }
    const fused = `${part[1]}qkv${part[3]}`;
    const before = tensors[fused]?.data ?? new Float32Array(0);
    tensors[fused] = {
      shape: [3 * (shape[0] as number), ...shape.slice(1)],
      data: Float32Array.of(...before, ...data),
    };
  }
  change(tensors);
  return tensors;
}

/** A file in a folder of its own, so that nothing lies beside it but what `beside` says. */
export function writeCheckpoint(
  bytes: Buffer | Tensors,
  beside: Record<string, unknown> | null = null,
  name = 'vit.safetensors',
): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gqa-checkpoint-'));
  if (beside !== null) fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(beside));
  fs.writeFileSync(path.join(folder, name), Buffer.isBuffer(bytes) ? bytes : encodeSafetensors(bytes));
  return path.join(folder, name);
}

/** A model file in memory. */
export function encodeModel(valuesOf: (name: string) => Float32Array, card: CardContent): Buffer {
  const parts: Buffer[] = [];
  writeModel((bytes) => void parts.push(Buffer.from(bytes)), valuesOf, card);
  return Buffer.concat(parts);
}
