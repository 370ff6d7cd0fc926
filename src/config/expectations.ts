/**
 * What the schema accepts, in words: key names for suggestions, and `a whole number from 1 to 64 or auto` for messages.
 * Read from the schema's JSON Schema.
 */
import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { insteadOfKey } from './other-names.js';
import type { Path } from './source.js';

/** The part of JSON Schema that our schemas give. */
export interface Expected {
  type?: 'object' | 'integer' | 'number' | 'string' | 'null' | 'boolean';
  properties?: Record<string, Expected>;
  anyOf?: Expected[];
  enum?: string[];
  const?: string | number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minLength?: number;
  description?: string;
  default?: unknown;
}

/** Schemas do not change: what they expect is worked out once. */
const worked = new WeakMap<z.ZodType, Expected>();

export function expectedBy(schema: z.ZodType): Expected {
  const expected = worked.get(schema) ?? (z.toJSONSchema(schema, { io: 'input' }) as Expected);
  worked.set(schema, expected);
  return expected;
}

/** The keys of a mapping; null where no mapping is accepted. Own keys only: `constructor` is none. */
export function keysOf(expected: Expected | undefined): Record<string, Expected> | null {
  if (expected?.properties) return expected.properties;
  const mappings = expected?.anyOf?.flatMap(({ properties }) => (properties ? [properties] : [])) ?? [];
  return mappings.length === 0 ? null : Object.assign({}, ...mappings);
}

export function expectedAt(expected: Expected, path: Path): Expected | undefined {
  return path.reduce<Expected | undefined>((node, key) => {
    const keys = keysOf(node);
    return keys && Object.hasOwn(keys, key) ? keys[key] : undefined;
  }, expected);
}

/** Dotted paths of every key that is no section. */
export function leafPaths(expected: Expected, path: Path = []): string[] {
  return Object.entries(keysOf(expected) ?? {}).flatMap(([key, node]) => {
    const inner = leafPaths(node, [...path, key]);
    return node.anyOf || inner.length === 0 ? [[...path, key].join('.'), ...inner] : inner;
  });
}

/** `a whole number of at least 1, null or {train, test}` */
export function inWords(expected: Expected): string {
  if (expected.description) return expected.description;
  if (expected.anyOf) return listed(expected.anyOf.map(inWords));
  if (expected.const !== undefined) return String(expected.const);
  if (expected.enum) return `one of ${expected.enum.join(', ')}`;
  if (expected.properties) {
    const keys = Object.keys(expected.properties);
    return keys.length <= 3 ? `{${keys.join(', ')}}` : `a mapping of keys (${keys.slice(0, 3).join(', ')}, …)`;
  }
  if (expected.type === 'integer' || expected.type === 'number') return numberInWords(expected);
  return {
    string: expected.minLength ? 'text that is not empty' : 'text',
    null: 'null',
    boolean: 'true or false',
    object: 'a mapping of keys',
  }[expected.type ?? 'object'];
}

/** The schema's bound of counts that have no better one: nothing to tell anyone about. */
const unbounded = 2 ** 31 - 1;

function numberInWords({ type, minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Expected): string {
  const kind = type === 'integer' ? 'a whole number' : 'a number';
  const top = maximum !== undefined && maximum !== unbounded ? maximum : undefined;
  if (minimum !== undefined && top !== undefined) return `${kind} from ${minimum} to ${top}`;
  const bounds = [
    minimum === undefined ? undefined : `of at least ${minimum}`,
    exclusiveMinimum === undefined ? undefined : `above ${exclusiveMinimum}`,
    top === undefined ? undefined : `of at most ${top}`,
    exclusiveMaximum === undefined ? undefined : `below ${exclusiveMaximum}`,
  ].filter((bound) => bound !== undefined);
  return [kind, bounds.join(' and ')].filter(Boolean).join(' ');
}

/** `1, 2 or 3` */
export function listed(items: readonly (string | number)[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} or ${items.at(-1)}`;
}

/**
 * The candidate that a misspelt word most likely means, or undefined when none is near. Case, `-` and `_` do not count.
 */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[-_ ]/g, '');
  const near = candidates
    .map((candidate) => ({ candidate, edits: distance(plain(word), plain(candidate)) }))
    .sort((a, b) => a.edits - b.edits)[0];
  if (near === undefined) return undefined;
  // Two letters swapped are two edits. A word of which nothing is left is no misspelling.
  const allowed = Math.max(near.candidate.length < 4 ? 1 : 2, Math.floor(near.candidate.length / 3));
  return near.edits <= Math.min(allowed, word.length - 1, near.candidate.length - 1) ? near.candidate : undefined;
}

/** `did you mean kv_heads?`, with the section when the key belongs in another one; undefined when nothing is near. */
export function suggestKey(root: Expected, path: Path): string | undefined {
  const word = path.at(-1) ?? '';
  const leaves = leafPaths(root);
  if (path.length === 1 && leaves.includes(word)) {
    const [section, ...key] = word.split('.');
    return `write ${key.join('.')} inside ${section}`;
  }
  const known = insteadOfKey(path);
  if (known) return known;
  const elsewhere = leaves.filter((leaf) => leaf.split('.').at(-1) === word);
  if (elsewhere.length > 0) return `did you mean ${listed(elsewhere)}?`;
  const near = closest(word, Object.keys(keysOf(expectedAt(root, path.slice(0, -1))) ?? {}));
  if (near) return `did you mean ${near}?`;
  const leaf = closest(
    word,
    leaves.map((path) => path.split('.').at(-1) ?? ''),
  );
  return leaf ? `did you mean ${listed(leaves.filter((path) => path.split('.').at(-1) === leaf))}?` : undefined;
}
