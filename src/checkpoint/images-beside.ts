/**
 * What the files of a hub's repository that lie beside a checkpoint say of the images it was trained on: timm's
 * `config.json` (`pretrained_cfg`, or its older flat form) and Hugging Face's `preprocessor_config.json` (or
 * `image_processor` in `processor_config.json`). Sources: timm's data/config.py and data/transforms_factory.py,
 * transformers' image_processing_*.py. Nothing here is trusted: what is not understood is stated as such.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Preprocessing, Triple } from '../config/preprocessing.js';

/**
 * What a source says of a setting; `refused`: something that gqa does not do, in words that follow the source's name.
 */
export type StatedValue<T> = { value: T } | { refused: string };

/** How images become square. */
export type Geometry = Pick<Preprocessing, 'resize' | 'cropPct'>;

/** What one source says; a setting that it says nothing of is left out. */
export interface Stated {
  /** For messages. */
  from: string;
  mean?: StatedValue<Triple>;
  std?: StatedValue<Triple>;
  geometry?: StatedValue<Geometry>;
  interpolation?: StatedValue<Preprocessing['interpolation']>;
  /** Pixels of the model's square. */
  imageSize?: number;
}

type Fields = Record<string, unknown>;

const READERS: Record<string, (fields: Fields, embedDim: number) => Omit<Stated, 'from'> | null> = {
  'config.json': timmConfig,
  'preprocessor_config.json': huggingFaceConfig,
  'processor_config.json': ({ image_processor }) =>
    isFields(image_processor) ? huggingFaceConfig(image_processor) : null,
};

const LARGEST = 1_000_000;

/**
 * Those of the files beside `checkpoint` that say something of images.
 * @param embedDim of the model: a `config.json` of another width belongs to something else
 */
export function statedBeside(checkpoint: string, embedDim: number): Stated[] {
  return Object.entries(READERS).flatMap(([name, read]) => {
    const file = path.join(path.dirname(checkpoint), name);
    const fields = fieldsOf(file);
    if (fields === null) return [];
    const stated = 'refused' in fields ? everything(fields.refused) : read(fields.value, embedDim);
    return stated === null ? [] : [{ from: file, ...stated }];
  });
}

const everything = (refused: string): Omit<Stated, 'from'> => ({
  mean: { refused },
  std: { refused },
  geometry: { refused },
  interpolation: { refused },
});

/** null: there is no such file. */
function fieldsOf(file: string): StatedValue<Fields> | null {
  const found = fs.statSync(file, { throwIfNoEntry: false });
  if (!found?.isFile()) return null;
  if (found.size > LARGEST) return { refused: `has ${found.size} bytes, too many to be read as a config` };
  try {
    const value: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
    return isFields(value) ? { value } : null;
  } catch (error) {
    return { refused: `cannot be read (${(error as Error).message})` };
  }
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** In a message. */
const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};

const given = (value: unknown): boolean => value !== undefined && value !== null;

/** `{ [key]: said }`, or nothing where nothing is said. */
const when = <Key extends keyof Stated>(key: Key, said: Stated[Key] | null): Partial<Stated> =>
  given(said) ? { [key]: said } : {};

function timmConfig(fields: Fields, embedDim: number): Omit<Stated, 'from'> | null {
  if (typeof fields.num_features === 'number' && fields.num_features !== embedDim) return null;
  const nested = fields.pretrained_cfg;
  // Before 2023 the settings stood at the top, beside the architecture's name.
  const cfg = isFields(nested) ? nested : typeof fields.architecture === 'string' ? fields : null;
  if (cfg === null) return null;
  const args = isFields(fields.model_args) ? fields.model_args : {};
  return {
    ...when('mean', channels('mean', cfg.mean)),
    ...when('std', channels('std', cfg.std)),
    ...when('geometry', timmGeometry(cfg)),
    ...when('interpolation', interpolationOf('interpolation', cfg.interpolation)),
    ...when('imageSize', sideOf(args.img_size) ?? sideOf(cfg.input_size)),
  };
}

/** A whole number above 0; undefined: it is none. */
const whole = (value: unknown): number | undefined =>
  Number.isInteger(value) && (value as number) > 0 ? (value as number) : undefined;

/**
 * The side of a square: a number, the last two of [3, 224, 224], or {height, width}. undefined: none of these, or not
 * square.
 */
function sideOf(value: unknown): number | undefined {
  if (typeof value === 'number') return whole(value);
  const [height, width] = Array.isArray(value) ? value.slice(-2) : isFields(value) ? [value.height, value.width] : [];
  return height === width ? whole(height) : undefined;
}

function channels(key: 'mean' | 'std' | 'image_mean' | 'image_std', value: unknown): StatedValue<Triple> | null {
  if (!given(value)) return null;
  const values = typeof value === 'number' ? [value, value, value] : value;
  const isStd = key.endsWith('std');
  if (
    !Array.isArray(values) ||
    values.length !== 3 ||
    !values.every((each) => typeof each === 'number' && Number.isFinite(each))
  )
    return { refused: `has ${key} ${shown(value)}; gqa takes three numbers, for red, green and blue` };
  if (values.some((each) => each > 1))
    return { refused: `has ${key} ${shown(value)}, as of pixels of 0 to 255; gqa takes it divided by 255` };
  if (values.some((each) => (isStd ? each <= 0 : each < 0)))
    return { refused: `has ${key} ${shown(value)}; gqa takes numbers ${isStd ? 'above 0' : 'from 0 to 1'}` };
  return { value: values as unknown as Triple };
}

/** PIL's numbers, and names as timm and Hugging Face write them. */
const INTERPOLATIONS = new Map<unknown, Preprocessing['interpolation']>([
  [2, 'bilinear'],
  [3, 'bicubic'],
  ['bilinear', 'bilinear'],
  ['bicubic', 'bicubic'],
]);

function interpolationOf(key: string, value: unknown): Stated['interpolation'] | null {
  if (!given(value)) return null;
  const known = INTERPOLATIONS.get(typeof value === 'string' ? value.toLowerCase() : value);
  return known === undefined
    ? {
        refused: `has ${key} ${shown(value)}; gqa has bilinear${key === 'resample' ? ' (2) and bicubic (3)' : ' and bicubic'}`,
      }
    : { value: known };
}

const isPart = (value: unknown): value is number => typeof value === 'number' && value > 0 && value <= 1;

function timmGeometry({
  crop_pct: part,
  crop_mode: mode,
  crop_border_pixels: border,
}: Fields): Stated['geometry'] | null {
  if (!given(part) && !given(mode)) return null;
  const cropPct = part ?? 0.875;
  if (!isPart(cropPct)) return { refused: `has crop_pct ${shown(part)}; gqa takes it above 0 and of at most 1` };
  if (border) return { refused: `has crop_border_pixels ${shown(border)}, which gqa does not cut off` };
  if (!given(mode) || mode === 'center') return { value: { resize: 'crop', cropPct } };
  if (mode === 'squash' && cropPct === 1) return { value: { resize: 'squash', cropPct: null } };
  return {
    refused: `has crop_mode ${shown(mode)} with crop_pct ${cropPct}; gqa has center, and squash with crop_pct 1`,
  };
}

/**
 * Keys of image processors that change pixels in ways that gqa does not, each with the settings that are then not
 * known.
 */
const NOT_DONE: [key: string, settings: ('mean' | 'std' | 'geometry')[]][] = [
  ['do_flip_channel_order', ['mean', 'std']],
  ['offset', ['mean', 'std']],
  ['rescale_offset', ['mean', 'std']],
  ['do_pad', ['geometry']],
  ['do_thumbnail', ['geometry']],
  ['do_align_long_axis', ['geometry']],
  ['crop_pct', ['geometry']],
  ['size_divisor', ['geometry']],
];

function huggingFaceConfig(fields: Fields): Omit<Stated, 'from'> | null {
  const says = ['image_mean', 'image_std', 'resample', 'size', 'crop_size', 'do_normalize', 'do_rescale', 'do_resize'];
  if (!says.some((key) => key in fields)) return null;
  const square = squareOf(fields);
  const stated: Omit<Stated, 'from'> = {
    ...valuesOf(fields),
    ...when('geometry', square && ('refused' in square ? square : { value: square.geometry })),
    ...when('imageSize', square && 'side' in square ? square.side : null),
    ...when('interpolation', interpolationOf('resample', fields.resample)),
  };
  for (const [key, settings] of NOT_DONE) {
    if (fields[key])
      for (const setting of settings)
        stated[setting] = { refused: `has ${key} ${shown(fields[key])}, which gqa does not do` };
  }
  return stated;
}

function valuesOf(fields: Fields): Pick<Stated, 'mean' | 'std'> {
  const { do_rescale: rescales, rescale_factor: factor } = fields;
  const refused =
    rescales === false
      ? 'has do_rescale false: means and deviations of pixels of 0 to 255; gqa takes them divided by 255'
      : given(factor) && !(typeof factor === 'number' && Math.abs(factor * 255 - 1) < 1e-6)
        ? `has rescale_factor ${shown(factor)}; gqa divides pixels by 255`
        : null;
  if (refused !== null) return { mean: { refused }, std: { refused } };
  if (fields.do_normalize === false) return { mean: { value: [0, 0, 0] }, std: { value: [1, 1, 1] } };
  return {
    ...when('mean', channels('image_mean', fields.image_mean)),
    ...when('std', channels('image_std', fields.image_std)),
  };
}

/** What a plain number in `size` means, by the processor's name: both edges, or the shorter one. */
const PLAIN_SIZES: [kind: RegExp, edge: 'both' | 'shortest_edge'][] = [
  [/^(ViT|DeiT|Beit)(Image|Feature)/, 'both'],
  [/^(Bit|CLIP)(Image|Feature)/, 'shortest_edge'],
];

function squareOf(fields: Fields): { refused: string } | { geometry: Geometry; side: number } | null {
  const { size, do_resize: resizes, do_center_crop: crops, crop_size: cropSize } = fields;
  if (resizes === false) return { refused: 'has do_resize false, but images are brought to model.image_size here' };
  if (!given(size)) return null;
  const kind = String(fields.image_processor_type ?? fields.feature_extractor_type ?? '');
  if (/^(ConvNext|Levit)/.test(kind)) return { refused: `has ${kind}, which resizes by a rule of its own` };
  const edge = typeof size === 'number' ? PLAIN_SIZES.find(([name]) => name.test(kind))?.[1] : undefined;
  const both = isFields(size) ? sideOf(size) : edge === 'both' ? sideOf(size) : undefined;
  const shortest = isFields(size) ? sideOf(size.shortest_edge) : edge === 'shortest_edge' ? sideOf(size) : undefined;
  const crop =
    crops === true ? (sideOf(cropSize) ?? sideOf(isFields(cropSize) ? cropSize.shortest_edge : null)) : undefined;
  const cropped = crops === true ? `, do_center_crop with crop_size ${shown(cropSize)}` : '';
  if (both !== undefined && (crops !== true || crop === both))
    return { geometry: { resize: 'squash', cropPct: null }, side: both };
  if (both === undefined && shortest !== undefined && crop !== undefined && crop <= shortest)
    return { geometry: { resize: 'crop', cropPct: partFor(crop, shortest) }, side: crop };
  return {
    refused: `has size ${shown(size)}${kind === '' ? '' : ` of ${kind}`}${cropped}; gqa squashes to a square, or takes a square of at most the shortest edge`,
  };
}

/** The part p of which floor(crop / p) is the edge. */
function partFor(crop: number, edge: number): number {
  const part = crop / edge;
  return Math.floor(crop / part) === edge ? part : crop / (edge + 0.5);
}
