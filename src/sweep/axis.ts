/** Any key of the config as an axis of a sweep: `--axis train.lr=1e-5,3e-5`. */
import { createHash } from 'node:crypto';
import { GqaError } from '../errors.js';

export interface Axis {
  /** `train.lr` */
  key: string;
  /** As `--set` takes them. */
  values: string[];
}

/** What a point has on each axis, by key. */
export type AxisValues = Record<string, string>;

/**
 * Commas part values but inside brackets, braces and quotes: `data.limit={train: 10, test: 5},null`.
 * @throws GqaError `usage`
 */
export function parseAxis(text: string): Axis {
  const [, key = '', list = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  const values = partsOf(list);
  if (key.trim() === '' || values.some((value) => value === ''))
    throw new GqaError('usage', `--axis ${text}: expected key=value,value…, as in train.lr=1e-5,3e-5`);
  return { key: key.trim(), values };
}

function partsOf(list: string): string[] {
  const parts = [''];
  let depth = 0;
  let quote: string | null = null;
  for (const char of list) {
    if (quote !== null) quote = char === quote ? null : quote;
    else if (char === '"' || char === "'") quote = char;
    else if ('[{'.includes(char)) depth++;
    else if (']}'.includes(char)) depth--;
    if (char === ',' && depth === 0 && quote === null) parts.push('');
    else parts[parts.length - 1] += char;
  }
  return parts.map((part) => part.trim());
}

/** The keys that some have, in the order in which they come. */
export const keysOf = (all: readonly { axes: AxisValues }[]): string[] => [
  ...new Set(all.flatMap(({ axes }) => Object.keys(axes))),
];

/** Every combination, the last axis changing fastest; without axes the one that changes nothing. */
export function combinations(axes: readonly Axis[]): AxisValues[] {
  return axes.reduce<AxisValues[]>(
    (found, { key, values }) => found.flatMap((before) => values.map((value) => ({ ...before, [key]: value }))),
    [{}],
  );
}

/** For a folder's name: `-lr1e-5`; what does not fit there, or is too long, ends with a number of its own. */
export function slugOf(values: AxisValues): string {
  const whole = Object.entries(values)
    .map(([key, value]) => `-${key.split('.').at(-1)}${value}`)
    .join('');
  const safe = whole.replace(/[^A-Za-z0-9._-]+/g, '_').slice(0, 50);
  return safe === whole
    ? whole
    : `${safe}-${createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 8)}`;
}

/** `, train.lr 1e-5` */
export const inWords = (values: AxisValues): string =>
  Object.entries(values)
    .map(([key, value]) => `, ${key} ${value}`)
    .join('');
