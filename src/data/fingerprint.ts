/**
 * What tells a data set from another, or from itself after a change: counts, and SHA-256 over the list of its images.
 * No image is opened, and no file asked for its size: an image that was replaced under its name is not noticed, except
 * in data sets that are read whole.
 */
import { createHash } from 'node:crypto';
import { sep } from 'node:path';
import { z } from 'zod';
import { counted } from '../counted.js';
import { type Evaluable, type RawSource, SPLIT_NAMES, type Split } from './dataset.js';

const listPrint = z.object({ images: z.number(), sha256: z.string() });
const fingerprintSchema = z.object({
  name: z.string(),
  /** Absolute folder. */
  from: z.string(),
  classes: z.object({ count: z.number(), sha256: z.string() }),
  splits: z.object({ train: listPrint.nullable(), val: listPrint.nullable(), test: listPrint.nullable() }),
});

/** As it is written into a run's meta.json. */
export type Fingerprint = z.output<typeof fingerprintSchema>;

/** Of raw images: all bytes of so many megabytes; of larger sets every n-th image. */
const HASHED_BYTES = 64e6;
/** Entries that are hashed at once. */
const CHUNK = 8192;

/**
 * The lists are hashed as lines of `path in the data set, label`; of a parquet file the path is its name and row. For
 * raw images: labels and pixels. A hundred thousand images take a tenth of a second.
 */
export function fingerprint(dataset: Evaluable): Fingerprint {
  const { name, from, classes } = dataset;
  const of = (split: Split | null) =>
    split === null ? null : { images: split.labels.length, sha256: hashOf(split, from) };
  return {
    name,
    from,
    classes: { count: classes.length, sha256: createHash('sha256').update(classes.join('\0')).digest('hex') },
    splits: { train: of(dataset.train), val: of(dataset.val), test: of(dataset.test) },
  };
}

/** @param recorded what stands in a meta.json. @returns null when it is none, as in runs of older versions */
export const asFingerprint = (recorded: unknown): Fingerprint | null =>
  fingerprintSchema.safeParse(recorded).data ?? null;

/**
 * What has changed, a clause each; empty: nothing. A split that only one of them has because the other was opened for
 * one split is not compared.
 */
export function changesSince(then: Fingerprint, now: Fingerprint, whole: boolean): string[] {
  const changes: string[] = [];
  if (then.classes.count !== now.classes.count)
    changes.push(`${counted(then.classes.count, 'class')} then, ${now.classes.count} now`);
  else if (then.classes.sha256 !== now.classes.sha256) changes.push('other class names, or in another order');
  for (const split of SPLIT_NAMES) {
    const [before, after] = [then.splits[split], now.splits[split]];
    if (before === null && after === null) continue;
    if (before === null || after === null) {
      if (whole)
        changes.push(
          `${split}: ${before === null ? 'none then' : `${counted(before.images, 'image')} then`}, ${after === null ? 'none' : after.images} now`,
        );
    } else if (before.images !== after.images)
      changes.push(`${split}: ${counted(before.images, 'image')} then, ${after.images} now`);
    else if (before.sha256 !== after.sha256)
      changes.push(`${split}: ${counted(before.images, 'image')} as then, but not the same ones`);
  }
  return changes;
}

function hashOf({ labels, source }: Split, from: string): string {
  const hash = createHash('sha256');
  if (source.kind === 'raw') {
    hash.update(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
    for (const image of someOf(source)) hash.update(image);
    return hash.digest('hex');
  }
  const names = source.kind === 'files' ? source.paths : source.names;
  const below = (path: string): string => (path.startsWith(from) ? path.slice(from.length + 1) : path);
  for (let at = 0; at < names.length; at += CHUNK) {
    const lines = names.slice(at, at + CHUNK).map((path, i) => `${below(path)}\0${labels[at + i]}`);
    const text = lines.join('\n');
    hash.update(`${sep === '/' ? text : text.replaceAll(sep, '/')}\n`);
  }
  return hash.digest('hex');
}

/** Every image of a small set, every n-th of a large one. */
function* someOf({ pixels, height, width, channels }: RawSource): Generator<Uint8Array> {
  const size = height * width * channels;
  const step = size * Math.max(1, Math.ceil(pixels.length / HASHED_BYTES));
  for (let at = 0; at < pixels.length; at += step) yield pixels.subarray(at, at + size);
}
