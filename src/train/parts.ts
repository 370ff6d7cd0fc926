/** Which images a run trains on, chooses its best epoch by and is tested on, and which an evaluation measures. */

import type { Config } from '../config/schema.js';
import { counted } from '../counted.js';
import { type Dataset, type Evaluable, imageName, type Split, type SplitName } from '../data/dataset.js';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import { holdOut } from '../data/subset.js';
import { takeLimit } from '../data/take.js';
import { GqaError } from '../errors.js';

/** Images of a split, by index. */
export interface Part {
  split: Split;
  indices: Int32Array;
}

export interface Parts {
  train: Part;
  /** What the best epoch is chosen on: the validation part, or the test split under protocol `paper`. */
  selection: Part;
  /** null: the data set has no test split, so that no test figure is there. */
  test: Part | null;
  /** What a user should know of it, a line each. */
  notices: string[];
}

/**
 * Limits count per split, before a validation part is taken from the training split. A data set that brings a
 * validation part keeps all of its training split. Errors: exit 2 for protocol `paper` without a test split, or when
 * nothing can be held out.
 */
export function splitParts(config: Config, dataset: Dataset): Parts {
  const parts = chosenParts(config, dataset);
  return { ...parts, notices: [...parts.notices, ...unlearned(parts.train, dataset)] };
}

/** A limit below the number of classes leaves some without any image. */
function unlearned({ split, indices }: Part, { classes }: Dataset): string[] {
  const taken = new Set(
    indices.length === split.labels.length ? [] : Array.from(indices, (index) => split.labels[index]),
  );
  const lost =
    taken.size === 0
      ? []
      : [...new Set(split.labels)].filter((label) => !taken.has(label)).map((label) => classes[label]);
  if (lost.length === 0) return [];
  return [
    `no training image is left of ${lost.length} of ${classes.length} classes (${lost.slice(0, 5).join(', ')}${lost.length > 5 ? ', …' : ''}): raise data.limit.train`,
  ];
}

function chosenParts(config: Config, dataset: Dataset): Parts {
  const { val, from } = dataset;
  const test = dataset.test === null ? null : limited(config, dataset.test);
  const notices = test === null ? [`${from} has no test split: test figures stay empty`] : [];
  if (config.train.protocol === 'paper') {
    if (test === null) {
      throw new GqaError(
        'usage',
        `train.protocol is paper, which chooses the best epoch on the test split, but ${from} has none`,
        {
          hint: 'With train.protocol: validation the folder val chooses it; with data.val_is: test the folder val is the test split.',
        },
      );
    }
    if (val !== null)
      notices.push(
        `the validation part of ${from} (${counted(val.labels.length, 'image')}) takes no part under train.protocol: paper`,
      );
    return { train: limited(config, dataset.train), selection: test, test, notices };
  }
  if (val !== null) {
    notices.push(
      `${from} brings its validation part: none is taken from its training split (data.val_fraction does nothing)`,
    );
    return { train: limited(config, dataset.train), selection: limited(config, val), test, notices };
  }
  const { limit } = config.data;
  if (limit.val !== null && limit.val !== limit.train)
    notices.push(
      `data.limit.val does nothing: ${from} brings no validation part, and data.val_fraction of its training split is taken`,
    );
  const { train, validation } = heldOut(config, dataset.train);
  return { train, selection: validation, test, notices };
}

/**
 * What `gqa eval` measures, and the training images that a variant may have to be calibrated on.
 * Errors: exit 2 for a part that the data set or the protocol does not have.
 */
export function evaluatedPart(
  config: Config,
  dataset: Evaluable,
  wanted: SplitName,
): { part: Part; train: Part | null } {
  const { train, val, test, from } = dataset;
  const paper = config.train.protocol === 'paper';
  const held = train !== null && val === null && !paper ? heldOut(config, train) : null;
  const parts: Record<SplitName, Part | null> = {
    train: held?.train ?? (train === null ? null : limited(config, train)),
    val: held?.validation ?? (val === null ? null : limited(config, val)),
    test: test === null ? null : limited(config, test),
  };
  const part = parts[wanted];
  if (part === null && wanted === 'val' && paper) {
    throw new GqaError('usage', 'there is no validation part under train.protocol: paper', {
      hint: 'Use --split test, or --set train.protocol=validation.',
    });
  }
  if (part === null) {
    const there = Object.entries(parts).flatMap(([name, found]) => (found === null ? [] : [name]));
    throw new GqaError('usage', `${from} has no ${wanted} split`, {
      hint: `It has ${there.join(', ')}: --split ${there.at(-1)}.`,
    });
  }
  return { part, train: parts.train };
}

const limited = ({ data, seed }: Config, split: Split): Part => ({
  split,
  indices: takeLimit(split.labels, data.limit[split.name], seed, split.name),
});

function heldOut(config: Config, split: Split): { train: Part; validation: Part } {
  const { train, validation } = holdOut(
    split.labels,
    limited(config, split).indices,
    config.data.valFraction,
    config.seed,
  );
  return { train: { split, indices: train }, validation: { split, indices: validation } };
}

/** Of the images that a part's measuring saw, in order. */
export function namesOf({ split, indices }: Part, { skipped }: Pick<Pipeline, 'skipped'>): string[] {
  const out = new Set(skipped.filter((image) => image.split === split.name).map(({ index }) => index));
  return [...indices].filter((index) => !out.has(index)).map((index) => imageName(split, index));
}
