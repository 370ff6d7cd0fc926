/**
 * From an MHA checkpoint with timm's names to any variant: K and V heads of a group are mean-pooled, everything else is copied.
 * Source of the merge: Ainslie et al. 2023, arXiv:2305.13245, §2.1; key-driven-gqa `att_weight_conversion`. Unlike that code, the final norm is taken over too.
 * Nothing here touches a tensor of TensorFlow.js: values go from the file into plain arrays.
 */
import { GqaError } from '../errors.js';
import { initialValues, parameterSpecs } from '../model/params.js';
import { headDim, type ModelShape } from '../model/sizes.js';
import { type ModelCard, readModelCard } from './model-file.js';
import { openSafetensors, readTensor, type Safetensors } from './safetensors.js';

export interface Converted {
  /** Values of every parameter of the target shape. */
  values: Record<string, Float32Array>;
  /** KV heads of the checkpoint; equal to the target's when nothing was merged. */
  fromKvHeads: number;
  /** Parameters that the checkpoint could not give and that were drawn afresh: only ever the head. */
  fresh: string[];
  /** Tensors of the checkpoint that the model has no place for. */
  unused: string[];
  /** What a checkpoint of our own says of itself; null for timm's. */
  card: ModelCard | null;
}

/**
 * Reads a checkpoint for a model of `shape`.
 * @param seed for a fresh head, when the checkpoint has another number of classes or none
 * @throws GqaError `usage` with every missing and misshapen tensor, `io` for an unreadable file or values that are not finite
 */
export function convertCheckpoint(path: string, shape: ModelShape, seed: number): Converted {
  const file = openSafetensors(path);
  const card = readModelCard(file);
  if (card !== null) checkHeads(file, card, shape);
  const specs = parameterSpecs(shape);
  const used = new Set<string>();
  const values: Record<string, Float32Array> = {};
  const fresh: string[] = [];
  const problems: string[] = [];
  let fromKvHeads = shape.kvHeads;

  const headFits = file.tensors.get('head.weight')?.shape[0] === shape.numClasses;
  for (const [name, { shape: wanted }] of Object.entries(specs)) {
    if (name.startsWith('head.') && !headFits) {
      if (file.tensors.has(name)) used.add(name);
      values[name] = initialValues(name, shape, seed);
      fresh.push(name);
      continue;
    }
    const found = locate(file, name);
    if (found === null) {
      problems.push(`missing: ${name} [${wanted.join(', ')}]`);
      continue;
    }
    used.add(found.tensor);
    const isKv = /\.attn\.[kv]\./.test(name);
    const mergeable = isKv && sameShape(found.shape, [shape.embedDim, ...wanted.slice(1)]);
    if (!sameShape(found.shape, wanted) && !mergeable) {
      problems.push(`misshapen: ${name} is [${found.shape.join(', ')}], the model needs [${wanted.join(', ')}]`);
      continue;
    }
    const read = found.read();
    requireFinite(file, found.tensor, read);
    const rows = found.shape[0] as number;
    if (isKv) fromKvHeads = rows / headDim(shape);
    values[name] = rows === wanted[0] ? read : meanPoolHeads(read, shape.heads, shape.kvHeads);
  }
  if (problems.length > 0) {
    throw new GqaError(
      'usage',
      [
        `${path} does not fit the model of the config (${problems.length} of ${Object.keys(specs).length} tensors):`,
        ...problems.map((line) => `  ${line}`),
      ].join('\n'),
      {
        hint: 'Check model.size (or image_size, patch_size, embed_dim, depth, heads) against the checkpoint; names are timm’s.',
      },
    );
  }
  return { values, fromKvHeads, fresh, unused: [...file.tensors.keys()].filter((name) => !used.has(name)), card };
}

/** A checkpoint of our own says how many heads it was trained with; shapes alone cannot show that they differ. */
function checkHeads(file: Safetensors, card: ModelCard, shape: ModelShape): void {
  if (card.model.heads === shape.heads && (card.model.kvHeads === shape.kvHeads || card.model.kvHeads === card.model.heads)) return;
  throw new GqaError(
    'usage',
    `${file.path} holds ${card.model.heads} heads with ${card.model.kvHeads} KV heads (${card.variant}); the config wants ${shape.heads} heads with ${shape.kvHeads} KV heads`,
    {
      hint: 'KV heads can be merged from MHA only. Give the MHA checkpoint, or a config with the same heads and KV heads.',
    },
  );
}

interface Found {
  /** Name in the file. */
  tensor: string;
  shape: number[];
  read: () => Float32Array;
}

/** A parameter's tensor in the file: by its own name, or as a third of timm's fused `attn.qkv` ([3·D, …], query first). */
function locate(file: Safetensors, name: string): Found | null {
  const own = file.tensors.get(name);
  if (own !== undefined) return { tensor: name, shape: own.shape, read: () => readTensor(file, name) };
  const part = /^(.*\.attn\.)([qkv])(\.\w+)$/.exec(name);
  if (part === null) return null;
  const fused = `${part[1]}qkv${part[3]}`;
  const entry = file.tensors.get(fused);
  if (entry === undefined) return null;
  const third = 'qkv'.indexOf(part[2] as string);
  return {
    tensor: fused,
    shape: [(entry.shape[0] as number) / 3, ...entry.shape.slice(1)],
    read() {
      const all = readTensor(file, fused);
      return all.slice((third * all.length) / 3, ((third + 1) * all.length) / 3);
    },
  };
}

/**
 * Mean over each group of neighbouring heads.
 * @param values [H·E, …] with the head axis first, as torch stores a projection
 * @returns      [K·E, …]
 */
export function meanPoolHeads(values: Float32Array, heads: number, kvHeads: number): Float32Array {
  const headLength = values.length / heads;
  const groupSize = heads / kvHeads;
  const pooled = new Float32Array(kvHeads * headLength);
  for (let g = 0; g < kvHeads; g++) {
    for (let i = 0; i < headLength; i++) {
      let sum = 0;
      for (let h = 0; h < groupSize; h++) sum += values[(g * groupSize + h) * headLength + i] as number;
      pooled[g * headLength + i] = sum / groupSize;
    }
  }
  return pooled;
}

function requireFinite(file: Safetensors, tensor: string, values: Float32Array): void {
  const bad = values.reduce((count, value) => count + (Number.isFinite(value) ? 0 : 1), 0);
  if (bad > 0)
    throw new GqaError('io', `${file.path}: tensor ${tensor} holds ${bad} values that are not finite`, {
      hint: 'The checkpoint is damaged or its training diverged; take another one.',
    });
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((size, i) => size === b[i]);
