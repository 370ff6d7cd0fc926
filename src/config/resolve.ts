/**
 * Rules that concern several keys at once, and the step from the file's fields to the `Config` the code reads: sizes,
 * head counts and limits filled in, snake_case turned into camelCase.
 */

import type { z } from 'zod';
import { divisorsOf } from '../model/grouping.js';
import { variantOf } from '../model/variants.js';
import { listed } from './expectations.js';
import { sectionNames } from './names.js';
import { looksLikePath } from './paths.js';
import { type Config, type configSchema, modelSizes, sizeKeys } from './schema.js';

type ParsedConfig = z.output<typeof configSchema>;
type SizeKey = (typeof sizeKeys)[number];

/** What is known so far: fields that are missing or wrong are left out, the latter also named by `unusable`. */
export interface Draft {
  data: Partial<ParsedConfig['data']>;
  model: Partial<ParsedConfig['model']>;
  train: Partial<ParsedConfig['train']>;
  /** True for a path whose value was already complained about: rules that need it keep quiet. */
  unusable: (path: string) => boolean;
}

export interface RuleProblem {
  /** Dotted. */
  path: string;
  /** What follows the key's name in the message. */
  text: string;
}

/** Each gives the problems of one rule. */
export const crossFieldRules: ((draft: Draft) => RuleProblem[])[] = [
  sizesComeFromTheTable,
  patchesFillTheImage,
  headsSplitTheWidth,
  kvHeadsFitVariantAndHeads,
  labelsAreForGroups,
  budgetsAreForLayers,
  selfIsPretrained,
  warmupEndsBeforeTraining,
  validationLeavesTraining,
  coarseLabelsAreOfCifar100,
  onlyImageFoldersHaveVal,
  mixingNeedsPartners,
  onlyCropsHaveAPart,
];

function sizesComeFromTheTable({ model, unusable }: Draft): RuleProblem[] {
  const { size } = model;
  if (size === undefined) return [];
  return sizeKeys.flatMap((key) => {
    const given = model[key];
    if (size === 'custom') {
      return given === undefined && key !== 'mlp_ratio' && !unusable(`model.${key}`)
        ? [{ path: `model.${key}`, text: 'is missing: size custom needs it' }]
        : [];
    }
    const fixed = modelSizes[size][key];
    return given === undefined || given === fixed
      ? []
      : [{ path: `model.${key}`, text: `is ${given}, but size ${size} has ${fixed}: use size custom to choose it` }];
  });
}

/** The value of a field that the size fixes, or undefined while it is not known. */
function sized(model: Draft['model'], key: SizeKey): number | undefined {
  if (model.size === undefined) return undefined;
  return model.size === 'custom' ? (model[key] ?? (key === 'mlp_ratio' ? 4 : undefined)) : modelSizes[model.size][key];
}

function patchesFillTheImage({ model }: Draft): RuleProblem[] {
  const image = sized(model, 'image_size');
  const patch = sized(model, 'patch_size');
  if (image === undefined || patch === undefined || image % patch === 0) return [];
  return [{ path: 'model.patch_size', text: `is ${patch}, but must divide image_size (${image})` }];
}

function headsSplitTheWidth({ model }: Draft): RuleProblem[] {
  const width = sized(model, 'embed_dim');
  const heads = sized(model, 'heads');
  if (width === undefined || heads === undefined || width % heads === 0) return [];
  return [{ path: 'model.heads', text: `is ${heads}, but must divide embed_dim (${width})` }];
}

function kvHeadsFitVariantAndHeads({ model, unusable }: Draft): RuleProblem[] {
  const heads = sized(model, 'heads');
  const kvHeads = model.kv_heads ?? undefined;
  if (heads === undefined || unusable('model.variant') || unusable('model.kv_heads')) return [];
  const variant = model.variant ?? 'mha';
  const path = 'model.kv_heads';
  const fixed = fixedKvHeads(variant, heads);
  if (fixed !== undefined) {
    return kvHeads === undefined || kvHeads === fixed
      ? []
      : [{ path, text: `is ${kvHeads}, but variant ${variant} has ${fixed}: leave it out, or choose another variant` }];
  }
  if (kvHeads === undefined && (isLabelFile(model.grouping) || typeof model.kv_budget === 'number')) return [];
  const divisors = listed(divisorsOf(heads));
  if (kvHeads === undefined)
    return [{ path, text: `is missing: variant ${variant} needs it, a divisor of heads (${heads}): ${divisors}` }];
  if (typeof model.kv_budget === 'number') return []; // another rule's
  return heads % kvHeads === 0 ? [] : [{ path, text: `is ${kvHeads}, but must divide heads (${heads}): ${divisors}` }];
}

/** A file of labels has the number of KV heads in it, so that none is asked for. */
const isLabelFile = (grouping: string | undefined): boolean => grouping !== undefined && looksLikePath(grouping);

function labelsAreForGroups({ model, unusable }: Draft): RuleProblem[] {
  if (unusable('model.variant') || unusable('model.grouping') || !isLabelFile(model.grouping)) return [];
  const variant = model.variant ?? 'mha';
  if (variantOf(variant).kvHeads !== undefined)
    return [
      { path: 'model.grouping', text: `is ${model.grouping}, but variant ${variant} leaves no choice of groups` },
    ];
  if (typeof model.kv_heads === 'number' && model.kv_heads !== sized(model, 'heads'))
    return [
      { path: 'model.kv_heads', text: `is ${model.kv_heads}, but the labels of model.grouping say it: leave it out` },
    ];
  return [];
}

function budgetsAreForLayers({ model, unusable }: Draft): RuleProblem[] {
  const { kv_budget: budget, kv_heads: kvHeads } = model;
  const [depth, heads] = [sized(model, 'depth'), sized(model, 'heads')];
  if (typeof budget !== 'number' || unusable('model.variant') || depth === undefined || heads === undefined) return [];
  const path = 'model.kv_budget';
  const variant = model.variant ?? 'mha';
  if (variantOf(variant).kvHeads !== undefined)
    return [{ path, text: `is ${budget}, but variant ${variant} chooses its KV heads itself` }];
  if (isLabelFile(model.grouping)) return [{ path, text: `is ${budget}, but the labels of model.grouping say it` }];
  if (typeof kvHeads === 'number' && kvHeads !== meanOfBudget(budget, depth))
    return [{ path, text: `is ${budget}, but model.kv_heads is ${kvHeads} in every layer: leave one of them out` }];
  if (model.pretrained === null || model.pretrained === undefined)
    return [{ path, text: `is ${budget}, but there is no model.pretrained whose layers’ errors could share it out` }];
  return budget >= depth && budget <= depth * heads
    ? []
    : [{ path, text: `is ${budget}, expected ${depth} (one in each layer) to ${depth * heads}` }];
}

/** What stands for the KV heads of a layer where a budget is shared out: written into resolved configs. */
const meanOfBudget = (budget: number, depth: number): number => Math.max(1, Math.round(budget / depth));

/** Key-value heads of the variants that leave no choice. */
export function fixedKvHeads(variant: ParsedConfig['model']['variant'], heads: number): number | undefined {
  const { kvHeads } = variantOf(variant);
  return kvHeads === undefined ? undefined : { all: heads, one: 1 }[kvHeads];
}

function selfIsPretrained({ model, train }: Draft): RuleProblem[] {
  if (train.distill_from !== 'self' || typeof model.pretrained === 'string') return [];
  return [{ path: 'train.distill_from', text: 'is self, but there is no model.pretrained that could teach' }];
}

function warmupEndsBeforeTraining({ train }: Draft): RuleProblem[] {
  const { warmup_steps: warmup, steps } = train;
  if (warmup === undefined || steps === undefined || steps === null || warmup === 0 || warmup < steps) return [];
  return [
    {
      path: 'train.warmup_steps',
      text: `is ${warmup}, but training stops after ${steps} steps: the learning rate would never be reached`,
    },
  ];
}

function validationLeavesTraining({ data, train, unusable }: Draft): RuleProblem[] {
  const limit = typeof data.limit === 'object' && data.limit !== null ? data.limit.train : data.limit;
  if (limit !== 1 || train.protocol === 'paper' || unusable('train.protocol')) return [];
  return [
    {
      path: 'data.limit',
      text: 'leaves 1 training image, but protocol validation needs at least 2: one to train, one to validate',
    },
  ];
}

function coarseLabelsAreOfCifar100({ data, unusable }: Draft): RuleProblem[] {
  if (data.labels !== 'coarse' || data.name === 'cifar100' || unusable('data.name')) return [];
  return [{ path: 'data.labels', text: `is coarse, but only cifar100 has coarse labels (data.name is ${data.name})` }];
}

function onlyImageFoldersHaveVal({ data, unusable }: Draft): RuleProblem[] {
  if (data.val_is !== 'test' || data.name === 'image-folder' || unusable('data.name')) return [];
  return [
    {
      path: 'data.val_is',
      text: `is test, but only image-folder has a folder val to choose for (data.name is ${data.name})`,
    },
  ];
}

function mixingNeedsPartners({ data, train }: Draft): RuleProblem[] {
  if (train.batch_size !== 1) return [];
  const asked = (['mixup', 'cutmix'] as const).filter((key) => typeof data[key] === 'number');
  return asked.map((key) => ({
    path: `data.${key}`,
    text: `is ${data[key]}, but train.batch_size is 1: an image alone has no partner`,
  }));
}

function onlyCropsHaveAPart({ data }: Draft): RuleProblem[] {
  if (typeof data.crop_pct !== 'number' || data.resize !== 'squash') return [];
  return [{ path: 'data.crop_pct', text: `is ${data.crop_pct}, but data.resize is squash: only resize crop has it` }];
}

/** @param parsed accepted by `configSchema` and by every rule above */
export function resolveConfig(parsed: ParsedConfig): Config {
  const { data, model } = parsed;
  const sizes = Object.fromEntries(sizeKeys.map((key) => [key, sized(model, key)])) as Record<SizeKey, number>;
  const { conversion } = variantOf(model.variant);
  const named = {
    grouping: model.grouping ?? conversion?.grouping ?? 'neighbours',
    merge: model.merge ?? conversion?.merge ?? 'mean',
    group_values: model.group_values ?? conversion?.groupValues ?? ('with_keys' as const),
  };
  const ofBudget = model.kv_budget === null ? null : meanOfBudget(model.kv_budget, sizes.depth);
  const kvHeads = fixedKvHeads(model.variant, sizes.heads) ?? model.kv_heads ?? ofBudget ?? sizes.heads;
  const budget =
    model.kv_budget ?? (conversion?.shareOut === true && model.pretrained !== null ? kvHeads * sizes.depth : null);
  const limit =
    typeof data.limit === 'object' && data.limit !== null
      ? data.limit
      : { train: data.limit, val: data.limit, test: data.limit };
  const { train } = parsed;
  const distillFrom = train.distill_from === 'self' ? model.pretrained : train.distill_from;
  return camelKeys({
    ...parsed,
    train: { ...train, distill_from: distillFrom },
    data: { ...data, limit },
    model: { ...model, ...named, ...sizes, kv_heads: kvHeads, kv_budget: budget },
  }) as Config;
}

function camelKeys(value: unknown): unknown {
  return renameKeys(value, (key) => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
}

/** The config in the file's own names again. */
export function snakeKeys(value: unknown): unknown {
  return renameKeys(value, (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

/** Values in the file's own names, by dotted path: sections opened, nothing below them. */
export function byDottedKey(config: Config | Record<string, unknown>): Map<string, unknown> {
  return new Map(
    Object.entries(snakeKeys(config) as Record<string, unknown>).flatMap(([key, value]): [string, unknown][] =>
      sectionNames.includes(key)
        ? Object.entries(value as object).map(([inner, one]) => [`${key}.${inner}`, one])
        : [[key, value]],
    ),
  );
}

function renameKeys(value: unknown, rename: (key: string) => string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [rename(key), renameKeys(item, rename)]));
}
