/**
 * Mean, standard deviation, resize and interpolation of a run: what the config says; else what the checkpoint says: its
 * own card, or files that lie beside it (images-beside.ts); else the defaults. What was not the config's own is stated,
 * and so is whatever the config and the checkpoint do not agree on.
 */
import { DEFAULT_CROP_PCT, DEFAULT_PREPROCESSING, type Preprocessing, type Triple } from '../config/preprocessing.js';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { type Geometry, type Stated, type StatedValue, statedBeside } from './images-beside.js';
import { readModelCard } from './model-file.js';
import { openCheckpoint } from './open.js';

export interface Resolved {
  /** With mean, std, resize, cropPct and interpolation filled in. */
  config: Config;
  /** To be stated once. */
  notices: string[];
  /** What makes figures doubtful: to be stated again at the end, and kept. */
  warnings: string[];
}

/**
 * @param checkpoint safetensors file; null: from scratch
 * @throws GqaError `usage` where the checkpoint wants something that gqa does not do and the config does not say
 *   otherwise; `io` when the file cannot be read
 */
export function resolvePreprocessing(config: Config, checkpoint: string | null): Resolved {
  const { data, model } = config;
  const stated = checkpoint === null ? [] : statedBy(checkpoint, model.embedDim);
  const { preprocessing, taken, silent, warnings, problems } = resolved(data, stated, DEFAULT_PREPROCESSING);
  if (preprocessing.resize === 'squash' && data.cropPct !== null)
    problems.push(
      `data.crop_pct is ${data.cropPct}, but data.resize is squash: add data.resize: crop, or leave data.crop_pct out`,
    );
  if (problems.length > 0) {
    throw new GqaError('usage', problems.join('\n'), {
      hint: 'What the config says goes before: data.mean, data.std, data.resize (with data.crop_pct) and data.interpolation.',
    });
  }
  for (const { from, imageSize } of stated) {
    if (imageSize !== undefined && imageSize !== model.imageSize)
      warnings.push(`${from} is of images of ${imageSize} pixels, but model.image_size is ${model.imageSize}`);
  }
  const notices = [...new Set(taken.map(({ from }) => from))].map(
    (from) => `${taken.flatMap((each) => (each.from === from ? [each.words] : [])).join(', ')}, as ${from} says`,
  );
  if (checkpoint !== null && silent.length > 0)
    notices.push(`${silent.join(', ')}: neither the config nor ${checkpoint} says otherwise, nor a file beside it`);
  const { mean, std, ...rest } = preprocessing;
  return { config: { ...config, data: { ...data, ...rest, mean: [...mean], std: [...std] } }, notices, warnings };
}

/**
 * What a file says: of ours its card alone, whose silence means the defaults, which were all there was; of others what
 * lies beside it.
 */
export function statedBy(checkpoint: string, embedDim: number): Stated[] {
  const card = readModelCard(openCheckpoint(checkpoint));
  if (card === null) return statedBeside(checkpoint, embedDim);
  const { mean, std, resize, cropPct, interpolation } = card.images ?? DEFAULT_PREPROCESSING;
  const geometry = { value: { resize, cropPct } };
  return [
    { from: checkpoint, mean: { value: mean }, std: { value: std }, geometry, interpolation: { value: interpolation } },
  ];
}

/**
 * A teacher's own mean and standard deviation; the student's, with a notice where that is not the default, where
 * nothing is said of its own.
 * @param student as resolved
 * @throws GqaError `usage` where the teacher wants its images resized otherwise, or something that gqa does not do
 */
export function resolvedTeacher(
  file: string,
  embedDim: number,
  student: Preprocessing,
): Pick<Preprocessing, 'mean' | 'std'> & { notices: string[] } {
  const stated = statedBy(file, embedDim);
  const asked = {
    mean: null,
    std: null,
    resize: student.resize,
    cropPct: student.cropPct,
    interpolation: student.interpolation,
  };
  const { preprocessing, taken, silent, warnings, problems } = resolved(asked, stated, student);
  if (problems.length + warnings.length > 0) {
    throw new GqaError('usage', [...problems, ...warnings.map((line) => `train.distill_from: ${line}`)].join('\n'), {
      hint: 'Student and teacher see the same images: set data.resize, data.crop_pct and data.interpolation as the teacher has them.',
    });
  }
  const { mean, std } = preprocessing;
  const notices = taken.map(
    ({ from, words }) => `the teacher has ${words}, as ${from} says: folded into its patch projection`,
  );
  const isDefault = alike([mean, std], [DEFAULT_PREPROCESSING.mean, DEFAULT_PREPROCESSING.std]);
  if (silent.length > 0 && !isDefault)
    notices.push(`the teacher is taken to have ${silent.join(', ')} too: nothing says otherwise`);
  return { mean, std, notices };
}

interface Resolution {
  preprocessing: Preprocessing;
  /** Values other than the defaults, and who says so. */
  taken: { from: string; words: string }[];
  /** Defaults that nobody said anything of. */
  silent: string[];
  warnings: string[];
  problems: string[];
}

/** The keys of `data` that are resolved here; null: not said. */
type Asked = Pick<Config['data'], 'mean' | 'std' | 'resize' | 'cropPct' | 'interpolation'>;

/**
 * @param stated     by files that must not contradict each other where the config says nothing
 * @param fallback where nobody says anything
 */
export function resolved(data: Asked, stated: readonly Stated[], fallback: Preprocessing): Resolution {
  const found: Omit<Resolution, 'preprocessing'> = { taken: [], silent: [], warnings: [], problems: [] };
  const resolve = <T>(
    own: T | null,
    otherwise: T,
    of: (source: Stated) => StatedValue<T> | undefined,
    words: (value: T) => string,
  ): T => {
    const sources = stated.flatMap((source) => {
      const said = of(source);
      return said === undefined ? [] : [{ from: source.from, said }];
    });
    const says = ({ from, said }: (typeof sources)[number]): string =>
      `${from} ${'refused' in said ? said.refused : `says ${words(said.value)}`}`;
    if (own !== null) {
      for (const source of sources)
        if (!alike(source.said, { value: own }))
          found.warnings.push(`the config says ${words(own)}, but ${says(source)}`);
      return own;
    }
    const [first] = sources;
    if (first === undefined) {
      found.silent.push(words(otherwise));
      return otherwise;
    }
    const other = sources.find(({ said }) => !alike(said, first.said));
    if ('refused' in first.said) found.problems.push(says(first));
    else if (other !== undefined) found.problems.push(`${says(first)}, but ${says(other)}`);
    else {
      if (!alike(first.said.value, otherwise)) found.taken.push({ from: first.from, words: words(first.said.value) });
      return first.said.value;
    }
    return otherwise;
  };
  const triple = (key: string) => (value: Triple) => `${key} [${value.join(', ')}]`;
  const { resize, cropPct } = fallback;
  const preprocessing = {
    mean: resolve(data.mean as Triple | null, fallback.mean, ({ mean }) => mean, triple('data.mean')),
    std: resolve(data.std as Triple | null, fallback.std, ({ std }) => std, triple('data.std')),
    ...resolve(ownGeometry(data, stated), { resize, cropPct }, ({ geometry }) => geometry, geometryInWords),
    interpolation: resolve(
      data.interpolation,
      fallback.interpolation,
      ({ interpolation }) => interpolation,
      (value) => `data.interpolation ${value}`,
    ),
  };
  return { preprocessing, ...found };
}

/** What the config says, with the crop's part as the checkpoint has it where only that is open; null: nothing. */
function ownGeometry({ resize, cropPct }: Asked, stated: readonly Stated[]): Geometry | null {
  const crops = stated.flatMap(({ geometry }) =>
    geometry !== undefined && 'value' in geometry && geometry.value.resize === 'crop' ? [geometry.value.cropPct] : [],
  );
  const own = resize ?? (cropPct !== null && crops.length > 0 ? 'crop' : null);
  if (own === null) return null;
  return { resize: own, cropPct: own === 'crop' ? (cropPct ?? crops[0] ?? DEFAULT_CROP_PCT) : null };
}

const geometryInWords = ({ resize, cropPct }: Geometry): string =>
  resize === 'squash' ? 'data.resize squash' : `data.resize crop, data.crop_pct ${cropPct}`;

/**
 * Numbers count as the same where they are rounded differently; parts of an edge (224 of 248, or 0.9) more coarsely.
 */
export function alike(a: unknown, b: unknown, tolerance = 5e-4): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= tolerance;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) =>
    alike(
      (a as Record<string, unknown>)[key],
      (b as Record<string, unknown>)[key],
      key === 'cropPct' ? 4e-3 : tolerance,
    ),
  );
}
