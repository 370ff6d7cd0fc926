/**
 * `--set a.b=value`: values from the command line over those of the file. Text (paths, names, words) is taken as it
 * stands, so that no `#`, `:` or blank in it is lost; numbers and mappings are read as YAML, never run, and what YAML
 * would pass over is refused.
 */

import { isScalar, Lexer, parseDocument } from 'yaml';
import { VARIANTS } from '../model/variants.js';
import { type Expected, expectedAt, keysOf, suggestKey } from './expectations.js';
import { shown, shownKey } from './shown.js';
import { type Origin, type Path, type Problem, pathKey, type Tree } from './source.js';

export interface Override {
  path: Path;
  value: unknown;
  origin: Origin;
}

/** Problems of flags come after those of the file, in the order of the flags. */
const firstOrder = 2 ** 40;

/**
 * @param expected the schema's keys: a path must end at one of them (own keys only, so `__proto__` and `constructor`
 *   are none)
 */
export function parseOverrides(
  sets: readonly string[],
  expected: Expected,
): { overrides: Override[]; problems: Problem[] } {
  const overrides: Override[] = [];
  const problems: Problem[] = [];
  sets.forEach((text, i) => {
    const parsed = parseOverride(text, expected);
    const origin = { at: `--set ${oneLine(text)}:`, order: firstOrder + i, flag: true };
    if (typeof parsed === 'string') problems.push({ ...origin, text: parsed });
    else overrides.push({ ...parsed, origin: { ...origin, label: parsed.path.join('.') } });
  });
  return { overrides, problems };
}

/** @returns the path and value, or what is wrong with the text */
function parseOverride(text: string, expected: Expected): { path: Path; value: unknown } | string {
  const equals = text.indexOf('=');
  if (equals < 0) return 'has no "=": expected --set key=value, e.g. --set train.lr=1e-4';
  const path = text.slice(0, equals).split('.');
  const target = expectedAt(expected, path);
  if (target === undefined) {
    const suggestion = suggestKey(expected, path);
    return `${path.map(shownKey).join('.')} is not a known key${suggestion ? `: ${suggestion}` : ''}`;
  }
  if (target.properties)
    return `${path.join('.')} is a section: set one of its keys, e.g. ${path.join('.')}.${Object.keys(keysOf(target) ?? {})[0]}`;
  const written = text.slice(equals + 1);
  if (written.trim() === '') return 'has no value after "=": write null where nothing is meant';
  const value = holdsText(target) ? textValue(written, target) : yamlValue(written);
  return typeof value === 'string' ? value : { path, value: value.value };
}

/** Is text expected, or text and null? Other unions (`auto` or a number) are YAML. */
const holdsText = ({ type, anyOf }: Expected): boolean =>
  anyOf ? anyOf.every((option) => option.type === 'string' || option.type === 'null') : type === 'string';

const takesNull = ({ anyOf }: Expected): boolean => anyOf?.some((option) => option.type === 'null') ?? false;

/** @returns the value, or what is wrong with it */
function textValue(written: string, expected: Expected): { value: string | null } | string {
  // A word of a list has no blanks to keep.
  if (expected.enum ?? expected.const) return unquoted(written.trim());
  if (takesNull(expected)) {
    if (/^(null|Null|NULL)$/.test(written)) return { value: null };
    if (written === '~')
      return '~ is null in YAML and the home folder in a shell: write null, or the name of the folder';
  }
  return unquoted(written);
}

/** Text that begins with a quote is quoted, as JSON and YAML do it; anything else is taken as it stands. */
function unquoted(written: string): { value: string } | string {
  if (!/^\s*["']/.test(written)) return { value: written };
  const document = parseDocument(written, { prettyErrors: false });
  const node = document.contents;
  const whole =
    document.errors.length === 0 && document.warnings.length === 0 && isScalar(node) && !hasComment(written);
  if (whole && typeof node.value === 'string') return { value: node.value };
  return `the value ${shown(written)} begins with a quote, but is no text in quotes: leave the quotes out, or write ${shown(JSON.stringify(written))}`;
}

function yamlValue(written: string): { value: unknown } | string {
  const document = parseDocument(written, { prettyErrors: false, merge: false });
  const [error] = [...document.errors, ...document.warnings];
  if (error) return `the value ${shown(written)} is not YAML: ${error.message}`;
  if (hasComment(written))
    return `the value ${shown(written)} holds a comment (from "#" on), which would be lost: leave it out`;
  try {
    return { value: document.toJS({ maxAliasCount: 0 }) as unknown };
  } catch {
    return `the value ${shown(written)} holds an alias, which means nothing here`;
  }
}

const hasComment = (written: string): boolean => [...new Lexer().lex(written)].some((token) => token.startsWith('#'));

const oneLine = (text: string): string => {
  const escaped = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
  return escaped.length > 80 ? `${escaped.slice(0, 77)}…` : escaped;
};

/** A new tree with the overrides in it, the last of a path winning. */
export function applyOverrides(tree: Tree, overrides: readonly Override[]): Tree {
  const value = structuredClone({ ...tree.value });
  const origins = new Map(tree.origins);
  for (const { path, value: given, origin } of overrides) {
    const sections = path.slice(0, -1);
    let node: Record<string, unknown> = value;
    for (const [depth, key] of sections.entries()) {
      const inner = node[key];
      // `limit: 100` stands for all splits, so that `data.limit.train=50` changes one of them.
      if (key === 'limit' && (typeof inner === 'number' || inner === null))
        node[key] = { train: inner, val: inner, test: inner };
      else if (inner === undefined || inner === null) node[key] = {};
      const next = node[key];
      // A section that is no mapping is reported by the schema, at its own place.
      if (typeof next !== 'object' || next === null || Array.isArray(next)) break;
      node = next as Record<string, unknown>;
      if (depth === sections.length - 1) setLeaf(node, origins, path, given, origin);
    }
    if (sections.length === 0) setLeaf(node, origins, path, given, origin);
  }
  return { value, origins };
}

function setLeaf(
  node: Record<string, unknown>,
  origins: Tree['origins'],
  path: Path,
  value: unknown,
  origin: Origin,
): void {
  const key = path.at(-1);
  if (key === undefined) return;
  node[key] = value;
  const inside = `${pathKey(path)}\0`;
  for (const known of [...origins.keys()]) if (known.startsWith(inside)) origins.delete(known);
  origins.set(pathKey(path), { key: origin, value: origin });
}

/** `--device` as one more override, over the config's own. */
export const deviceOverride = (device: string | undefined): string[] =>
  device === undefined ? [] : [`device=${device}`];

/** Their number of KV heads is no choice. */
export const hasFixedKvHeads = (variant: string | undefined): boolean =>
  variant !== undefined && VARIANTS[variant]?.kvHeads !== undefined;

/**
 * Another variant over the config's own, as overrides; a number of KV heads that the config gives for its own is taken
 * back where the other leaves no choice.
 */
export const variantOverride = (variant: string | undefined): string[] =>
  variant === undefined
    ? []
    : [`model.variant=${variant}`, ...(hasFixedKvHeads(variant) ? ['model.kv_heads=null'] : [])];
