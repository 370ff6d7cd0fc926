/**
 * What zod finds wrong with a tree, in sentences that say what was found and what was expected, each at the place where
 * it was written.
 */
import type { z } from 'zod';
import { closest, type Expected, expectedAt, inWords, keysOf } from './expectations.js';
import { insteadOfValue } from './other-names.js';
import { shown, shownKey } from './shown.js';
import { foldedSlip, keySlip } from './slips.js';
import { type Path, type Problem, problemAt, type Tree } from './source.js';

export interface Suggestions {
  /** What an unknown key may have meant: `did you mean kv_heads?` */
  unknownKey: (path: Path) => string | undefined;
  /** What a wrong value may have meant. */
  suggestValue?: (path: Path, value: unknown) => string | undefined;
}

interface Found {
  problems: Problem[];
  /** Dotted path of each problem. */
  paths: string[];
  /** Dotted paths of the keys with a problem. */
  unusable: string[];
}

/** All problems of the tree by this schema; none when it is accepted. */
export function schemaProblems(schema: z.ZodType, tree: Tree, expected: Expected, suggestions: Suggestions): Found {
  const found: Found = { problems: [], paths: [], unusable: [] };
  for (const issue of schema.safeParse(tree.value).error?.issues ?? [])
    describeIssue(issue, [], tree, expected, suggestions, found);
  return found;
}

function describeIssue(
  issue: z.core.$ZodIssue,
  around: Path,
  tree: Tree,
  expected: Expected,
  suggestions: Suggestions,
  found: Found,
): void {
  // A list is one value: what is wrong inside it is said of all of it.
  const inList = issue.path.findIndex((key) => typeof key === 'number');
  const path = [...around, ...(inList < 0 ? issue.path : issue.path.slice(0, inList)).map(String)];
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      found.problems.push(unknownKey([...path, key], tree, expected, suggestions));
      found.paths.push([...path, key].join('.'));
    }
    return;
  }
  const value = valueAt(tree.value, path);
  // A mapping where one is among the choices: its own problems are nearer than "none of the choices fits".
  if (issue.code === 'invalid_union' && isMapping(value)) {
    const inner = issue.errors.find((issues) =>
      issues.some((one) => one.path.length > 0 || one.code === 'unrecognized_keys'),
    );
    if (inner) {
      for (const one of inner) describeIssue(one, path, tree, expected, suggestions, found);
      found.unusable.push(path.join('.'));
      return;
    }
  }
  found.unusable.push(path.join('.'));
  found.paths.push(path.join('.'));
  const wanted = expectedAt(expected, path) ?? {};
  found.problems.push(
    problemAt(
      tree,
      path,
      'value',
      (label) =>
        `${label} ${whatWasFound(value, wanted)}, expected ${inWords(wanted)}${after(path, value, wanted, suggestions)}`,
    ),
  );
}

/** `is 5` · `is missing` · `is the text "1e-4"` (a number in quotes looks right, so its kind is named) */
function whatWasFound(value: unknown, wanted: Expected): string {
  const numeric = inWords(wanted).includes('number');
  return typeof value === 'string' && numeric ? `is the text ${shown(value)}` : `is ${shown(value)}`;
}

function after(path: Path, value: unknown, wanted: Expected, { suggestValue }: Suggestions): string {
  const own = suggestValue?.(path, value) ?? insteadOfValue(path.join('.'), value);
  if (own) return `; ${own}`;
  const slip = wanted.properties && typeof value === 'string' ? foldedSlip(value) : undefined;
  if (slip) return `; ${slip}`;
  const inner = Object.entries(wanted.properties ?? {}).find(
    ([, { enum: words }]) => typeof value === 'string' && words?.includes(value),
  );
  if (inner) return `; write ${path.join('.')}: { ${inner[0]}: ${value} }`;
  if (typeof value === 'string' && /^[“”„‘’«]/.test(value))
    return '; curly quotes are letters in YAML: leave them out, or write "';
  const near = typeof value === 'string' && wanted.enum ? closest(value, wanted.enum) : undefined;
  if (near) return `; did you mean ${near}?`;
  if (
    typeof value === 'string' &&
    /number/.test(inWords(wanted)) &&
    value.trim() !== '' &&
    Number.isFinite(Number(value))
  )
    return ' (without quotes)';
  if (typeof value === 'number' && wanted.type === 'string') return ' (in quotes)';
  return '';
}

function unknownKey(path: Path, tree: Tree, expected: Expected, { unknownKey: suggest }: Suggestions): Problem {
  const section = path.slice(0, -1);
  const known = Object.keys(keysOf(expectedAt(expected, section)) ?? {});
  const suggestion =
    keySlip(path.at(-1) ?? '') ??
    suggest(path) ??
    `${section.length > 0 ? section.join('.') : 'a config'} has ${known.join(', ')}`;
  return problemAt(tree, path, 'key', () => `${path.map(shownKey).join('.')} is not a known key: ${suggestion}`);
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((node, key) => (isMapping(node) ? node[key] : undefined), value);
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
