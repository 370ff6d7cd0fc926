/**
 * The flat config files of the paper's repository (Khan et al. 2024, key-driven-gqa, README.md and train.py), accepted
 * as they are. What train.py hard-codes is implied: test split after every epoch, RandAugment, mean and std 0.5,
 * squashed bilinearly, batch 32, AdamW at lr 1e-5, 5 epochs, seed 42. `--set` changes any of it by our own key, e.g.
 * `--set train.epochs=1`.
 */

import { z } from 'zod';
import { type VariantName, variantOf } from '../model/variants.js';
import { closest, expectedAt, expectedBy, keysOf, leafPaths, suggestKey } from './expectations.js';
import type { DataName } from './names.js';
import { sectionNames } from './names.js';
import { schemaProblems } from './problems.js';
import type { configSchema } from './schema.js';
import { type Problem, pathKey, problemAt, type Tree } from './source.js';

type Nested = z.input<typeof configSchema>;

/**
 * Classes of the data sets whose number is known; `num_classes` is checked against it and used for nothing else, since
 * the head is sized by the data read.
 */
const dataSets: Record<string, { name: DataName; classes: number; channels: 1 | 3 }> = {
  cifar10: { name: 'cifar10', classes: 10, channels: 3 },
  cifar100: { name: 'cifar100', classes: 100, channels: 3 },
  food101: { name: 'food101', classes: 101, channels: 3 },
  'tiny-imagenet-200': { name: 'tiny-imagenet', classes: 200, channels: 3 },
  mnist: { name: 'mnist', classes: 10, channels: 1 },
  oxfordiitpet: { name: 'oxford-pet', classes: 37, channels: 3 },
  cinic10: { name: 'cinic10', classes: 10, channels: 3 },
  'imagenet-1k': { name: 'imagenet', classes: 1000, channels: 3 },
};

const sizes: Record<string, Nested['model']['size']> = { s: 'small', b: 'base', l: 'large', c: 'custom' };

const variants: Record<string, VariantName> = {
  mhsa: 'mha',
  gqa: 'gqa',
  kdgqa: 'kdgqa',
  dgqa_diff: 'dgqa-diff',
  dgqa_ema: 'dgqa-ema',
  pgqa: 'pgqa',
};

const count = z.int().min(1).max(65536);

/** The flat file's own fields. name, seed and device stand at the top of either form. */
const flatSchema = z.strictObject({
  dataset: z.enum(Object.keys(dataSets)),
  size: z.enum(Object.keys(sizes)),
  att_scheme: z.enum(Object.keys(variants)),
  pretrained: z.union([z.boolean(), z.string().min(1)]).describe('true, false or the path of a safetensors file'),
  in_chans: z.union([z.literal(3), z.literal(1)]).optional(),
  num_classes: count.optional(),
  window_size: count.optional(),
  num_kv_heads: count.optional(),
  out_dir: z.string().min(1).optional(),
  embed_dim: count.optional(),
  num_layers: count.optional(),
  num_heads: count.optional(),
  name: z.unknown().optional(),
  seed: z.unknown().optional(),
  device: z.unknown().optional(),
});

/** Flat key → ours. `dataset`, `size`, `att_scheme`, `pretrained` and `out_dir` change their value on the way. */
const nestedPaths: Record<string, string> = {
  dataset: 'data.name',
  size: 'model.size',
  att_scheme: 'model.variant',
  pretrained: 'model.pretrained',
  window_size: 'model.window_size',
  num_kv_heads: 'model.kv_heads',
  embed_dim: 'model.embed_dim',
  num_layers: 'model.depth',
  num_heads: 'model.heads',
  out_dir: 'name',
  name: 'name',
  seed: 'seed',
  device: 'device',
};

/** Keys that only a flat file has at its top. */
const flatKeys = [...Object.keys(nestedPaths).filter((key) => key !== nestedPaths[key]), 'in_chans', 'num_classes'];

export interface Converted {
  tree: Tree;
  problems: Problem[];
  /** Dotted paths of our keys whose flat value was wrong. */
  unusable: Set<string>;
  /** What is read otherwise than in the paper's code, to be reported on stderr. */
  notices: string[];
}

/** Does the file speak in the paper's keys? A mixture does, so that it is refused in words about both forms. */
export const isFlat = (tree: Tree): boolean =>
  Object.keys(tree.value).some((key) => flatKeys.includes(key)) ||
  (!sectionNames.some((key) => key in tree.value) && looksFlat(tree));

/** Every key misspelt: still flat when it is nearer to the paper's keys than to our sections. */
const looksFlat = (tree: Tree): boolean =>
  Object.keys(tree.value).some(
    (key) => closest(key, flatKeys) !== undefined && closest(key, sectionNames) === undefined,
  );

/**
 * @param overridden dotted paths given by `--set`, which need no value in the file
 * @param root our own schema, for suggestions
 */
export function fromPaperFile(tree: Tree, overridden: ReadonlySet<string>, root: z.ZodType): Converted {
  const given = Object.keys(tree.value);
  const mixed = given.filter((key) => sectionNames.includes(key));
  if (mixed.length > 0) return refuseMixture(tree, mixed);

  const expected = expectedBy(flatSchema);
  const found = schemaProblems(flatSchema, tree, expected, {
    unknownKey: (path) => unknownFlatKey(path[0] ?? '', root, Object.keys(keysOf(expected) ?? {})),
    suggestValue: (path, value) => suggestValue(path[0] ?? '', value),
  });
  const problems = found.problems;
  const wrong = new Set(found.unusable);
  const ok = (key: string) => !wrong.has(key) && tree.value[key] !== undefined;
  const flat = tree.value as Partial<z.output<typeof flatSchema>>;
  const notices: string[] = [];
  const report = (key: string, text: (label: string) => string, hint?: string) => {
    problems.push(problemAt(tree, [key], 'value', text, hint));
    wrong.add(key);
  };

  const dataSet = ok('dataset') ? dataSets[flat.dataset ?? ''] : undefined;
  if (dataSet && ok('num_classes') && flat.num_classes !== dataSet.classes) {
    report('num_classes', (label) => `${label} is ${flat.num_classes}, but ${flat.dataset} has ${dataSet.classes}`);
  }
  if (dataSet && ok('in_chans') && flat.in_chans === 1) {
    if (dataSet.channels === 3)
      report('in_chans', (label) => `${label} is 1, but the images of ${flat.dataset} have 3 channels`);
    else notices.push('in_chans: 1 is read as 3: grey images become three equal channels here');
  }
  if (flat.pretrained === true && !overridden.has('model.pretrained')) {
    report(
      'pretrained',
      (label) => `${label} is true, but nothing is downloaded here: the file of the weights must be named`,
      'Name a safetensors file with timm\'s names: --set model.pretrained=FILE (or "pretrained: FILE" in the config).',
    );
  }
  const variant = ok('att_scheme') ? variants[flat.att_scheme ?? ''] : undefined;
  if (flat.size === 'c') {
    for (const key of ['embed_dim', 'num_layers', 'num_heads'] as const) {
      if (flat[key] !== undefined || wrong.has(key) || overridden.has(nestedPaths[key] ?? '')) continue;
      problems.push(
        problemAt(
          tree,
          [key],
          'value',
          () => `${key} is missing: size c (custom) needs embed_dim, num_layers and num_heads`,
        ),
      );
      wrong.add(key);
    }
  }
  const dropped = new Set(['in_chans', 'num_classes']);
  if (
    variant !== undefined &&
    variantOf(variant).kvHeads === 'all' &&
    ok('num_kv_heads') &&
    !overridden.has('model.variant')
  ) {
    dropped.add('num_kv_heads');
    notices.push(
      `num_kv_heads: ${flat.num_kv_heads} is ignored, as in the paper's code: mhsa has a key-value head for every head`,
    );
  }
  if (flat.name !== undefined) dropped.add('out_dir');

  const values: Record<string, unknown> = {
    ...flat,
    dataset: dataSet?.name,
    size: sizes[flat.size ?? ''],
    att_scheme: variant,
    // True here means that --set names the file.
    pretrained: typeof flat.pretrained === 'string' ? flat.pretrained : null,
    out_dir: typeof flat.out_dir === 'string' ? flat.out_dir.split(/[\\/]/).filter(Boolean).at(-1) : undefined,
  };
  return { ...rebuild(tree, values, wrong, dropped), problems, notices };
}

function refuseMixture(tree: Tree, mixed: string[]): Converted {
  const problems = Object.keys(tree.value)
    .filter((key) => flatKeys.includes(key))
    .map((key) => {
      const ours = Object.hasOwn(nestedPaths, key) ? `write ${nestedPaths[key]} instead` : 'leave it out';
      return problemAt(
        tree,
        [key],
        'key',
        (label) => `${label} is a key of the paper's flat files and cannot stand beside ${mixed.join(', ')}: ${ours}`,
      );
    });
  return { tree, problems, unusable: new Set(['*']), notices: [] };
}

function unknownFlatKey(key: string, root: z.ZodType, known: string[]): string {
  const near = closest(key, known);
  if (near) return `did you mean ${near}?`;
  const ours = leafPaths(expectedBy(root)).filter((leaf) => leaf.split('.').at(-1) === key);
  const suggestion = ours.length > 0 ? `did you mean ${ours.join(' or ')}?` : suggestKey(expectedBy(root), [key]);
  const path = suggestion?.match(/[a-z]+\.[a-z0-9_]+/)?.[0];
  return path
    ? `the paper's flat files have no such key: use --set ${path}=…`
    : `the paper's flat files have ${known.slice(0, 12).join(', ')}`;
}

function suggestValue(key: string, value: unknown): string | undefined {
  const accepted = expectedAt(expectedBy(flatSchema), [key])?.enum;
  const near = typeof value === 'string' && accepted ? closest(value, accepted) : undefined;
  return near ? `did you mean ${near}?` : undefined;
}

/** The nested tree: what the paper implies, and over it what the file says, each value at its own place. */
function rebuild(
  tree: Tree,
  values: Record<string, unknown>,
  wrong: Set<string>,
  dropped: Set<string>,
): Pick<Converted, 'tree' | 'unusable'> {
  const start = tree.origins.get('');
  const origins: Tree['origins'] = new Map();
  if (start) origins.set('', start);
  const value: Record<string, Record<string, unknown> | unknown> = {
    seed: 42,
    data: {
      augment: 'paper',
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      resize: 'squash',
      interpolation: 'bilinear',
    },
    model: { window_size: 300, ...(values.size === 'custom' ? { image_size: 224, patch_size: 16 } : {}) },
    train: { protocol: 'paper', epochs: 5, batch_size: 32, optimizer: 'adamw', lr: 1e-5 },
  };
  const unusable = new Set<string>();
  for (const [key, nested] of Object.entries(nestedPaths)) {
    if (wrong.has(key)) unusable.add(nested);
    if (dropped.has(key) || wrong.has(key) || values[key] === undefined) continue;
    const path = nested.split('.');
    const [section, field] = path;
    if (section === undefined) continue;
    if (field === undefined) value[section] = values[key];
    else (value[section] as Record<string, unknown>)[field] = values[key];
    const origin = tree.origins.get(pathKey([key]));
    if (origin) origins.set(pathKey(path), origin);
  }
  return { tree: { value, origins }, unusable };
}
