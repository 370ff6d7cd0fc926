/** Why a file is refused, in at most ten lines that begin with what it is. */
import path from 'node:path';
import { modelSizes } from '../config/schema.js';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import type { ModelShape } from '../model/sizes.js';
import type { Place } from './names.js';
import { type Safetensors, shown } from './safetensors.js';

export type Sizes = Pick<ModelShape, 'imageSize' | 'patchSize' | 'embedDim' | 'depth' | 'mlpRatio'>;

/** Why the file is refused: what, and examples. */
export interface Reason {
  what: string;
  names: string[];
}

const SIZE_KEYS = {
  imageSize: 'image_size',
  patchSize: 'patch_size',
  embedDim: 'embed_dim',
  depth: 'depth',
  mlpRatio: 'mlp_ratio',
} as const satisfies Record<keyof Sizes, string>;

export function differences(is: Sizes, shape: ModelShape): (keyof Sizes)[] {
  return (Object.keys(SIZE_KEYS) as (keyof Sizes)[]).filter((key) =>
    key === 'mlpRatio'
      ? Math.round(is.embedDim * is.mlpRatio) !== Math.round(is.embedDim * shape.mlpRatio)
      : is[key] !== shape[key],
  );
}

export function doesNotFit(
  file: Safetensors,
  place: Place,
  is: Sizes,
  shape: ModelShape,
  differing: (keyof Sizes)[],
): GqaError {
  const named = Object.entries(modelSizes).find(([, size]) =>
    (Object.keys(SIZE_KEYS) as (keyof Sizes)[]).every((key) => size[SIZE_KEYS[key]] === is[key]),
  );
  const keys = (Object.keys(SIZE_KEYS) as (keyof Sizes)[]).map((key) => `${SIZE_KEYS[key]}: ${is[key]}`).join(', ');
  const hint =
    named === undefined
      ? `Set model.size: custom, ${keys}, and heads as it was trained with.`
      : `Set model.size: ${named[0]}, or custom with ${keys}.`;
  const lines = differing.map((key) => ({
    what: `${SIZE_KEYS[key]} is ${is[key]}, in the config ${shape[key]}`,
    names: [],
  }));
  return refuse(file, describe(place, is), 'it does not fit the model of the config', lines, hint);
}

export const describe = ({ scheme, prefix }: Place, { imageSize, patchSize, embedDim, depth }: Sizes): string =>
  `a ViT with ${scheme.name}${prefix === '' ? '' : ` behind “${prefix}”`} (${imageSize} pixels, patch ${patchSize}, embed_dim ${embedDim}, depth ${depth})`;

const MOST_REASONS = 6;

export function refuse(file: Safetensors, what: string, why: string, reasons: Reason[], hint?: string): GqaError {
  const part = /-(\d{5}-of-\d{5})\.safetensors$/.exec(path.basename(file.path))?.[1];
  const whole = part === undefined ? what : `a part (${part.replace('-of-', ' of ')}) of a checkpoint in several files`;
  const line = ({ what: reason, names }: Reason): string =>
    `  ${reason}${names.length === 0 ? '' : `: ${examples(names)}`}`;
  const more = reasons.length > MOST_REASONS ? [`  and ${reasons.length - MOST_REASONS} more`] : [];
  return new GqaError(
    'usage',
    [`${file.path} is ${whole}: ${why}:`, ...reasons.slice(0, MOST_REASONS).map(line), ...more].join('\n'),
    {
      hint:
        hint ??
        (part === undefined
          ? 'Give a plain ViT: pre-norm blocks, a class token, learned positions, a linear head.'
          : 'Give the index beside it, model.safetensors.index.json, or their folder.'),
    },
  );
}

function examples(names: string[]): string {
  const first = names.slice(0, 2).map((name) => (name.includes(' ') ? name : shown(name)));
  return `${first.join(', ')}${names.length > 2 ? ` and ${names.length - 2} more` : ''}`;
}

export function noVit(file: Safetensors, family: string | null): GqaError {
  const count = file.tensors.size;
  const names = [...file.tensors.keys()];
  const what =
    family === null
      ? 'no ViT whose names gqa knows (timm’s, Hugging Face’s, torchvision’s)'
      : `no plain ViT but ${family}`;
  return new GqaError(
    'usage',
    `${file.path} is ${what}: ${counted(count, 'tensor')}${count === 0 ? '' : `: ${examples(names)}`}`,
    {
      hint: 'Give a plain ViT as timm, Hugging Face or torchvision save it, as one .safetensors file.',
    },
  );
}
