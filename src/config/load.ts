/**
 * A config file and the `--set` flags → `Config`, or one error with every problem, each at its file:line:column. And
 * back: `dumpConfig`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { type ExitCodeName, GqaError } from '../errors.js';
import { fileError } from '../files/atomic.js';
import { closest, expectedBy, suggestKey } from './expectations.js';
import { sectionNames } from './names.js';
import { applyOverrides, parseOverrides } from './overrides.js';
import { fromPaperFile, isFlat } from './paper.js';
import { expandPaths } from './paths.js';
import { schemaProblems } from './problems.js';
import { crossFieldRules, type Draft, resolveConfig, snakeKeys } from './resolve.js';
import { type Config, configSchema } from './schema.js';
import { type Origin, type Problem, parseSource, problemAt, type Tree } from './source.js';

const maxBytes = 1_000_000;

/**
 * @param file YAML, in our form or in the paper's flat one
 * @param sets `train.lr=1e-4`, …: over the file, the last of a key winning
 * @throws GqaError `usage` with a line for every problem; `io` when the file exists but cannot be read
 */
export function loadConfig(file: string, sets: readonly string[]): Config {
  return readConfig(file, sets).config;
}

/** A config, and how it came about. */
export interface ReadConfig {
  config: Config;
  /**
   * What goes to stderr: keys of the paper's files that are read otherwise than by the paper's code.
   */
  notices: string[];
  /** The keys that the file or `--set` gives, by dotted path, each with the value that counts and its place. */
  given: ReadonlyMap<string, Origin & { value: unknown }>;
  /** gqa wrote the file: it has every key, chosen or not. */
  written: boolean;
}

/** What was found out of the weights that a config names. */
export interface FoundWeights {
  /** The file that stands for `model.pretrained`; null: it stays as it is. */
  pretrained: string | null;
  /** Sizes of the checkpoint, for those that the config leaves out, by their keys; null: none are filled in. */
  sizes: Record<string, unknown> | null;
}

const NOTHING_FOUND: FoundWeights = { pretrained: null, sizes: null };

/** `loadConfig`, with how it came about. @param found of the weights that it names */
export function readConfig(file: string, sets: readonly string[], found = NOTHING_FOUND): ReadConfig {
  return parseConfig(readText(file), file, sets, found);
}

/**
 * The weights that a config names and its section `model` (null of the paper's flat files, whose sizes are fixed), as far
 * as they can be told before it is checked.
 */
export function namedIn(
  file: string,
  sets: readonly string[],
): { pretrained: string | null; model: Record<string, unknown> | null } {
  const { tree } = parseSource(readText(file), file);
  if (tree === null) return { pretrained: null, model: null };
  const flat = isFlat(tree);
  const named = applyOverrides(tree, parseOverrides(sets, expectedBy(configSchema)).overrides);
  fillIn(named, file, NOTHING_FOUND);
  expandPaths(named);
  const model = named.value.model as Record<string, unknown>;
  const isMapping = typeof model === 'object' && model !== null;
  const pretrained = isMapping && typeof model.pretrained === 'string' ? model.pretrained : null;
  return { pretrained, model: flat || !isMapping ? null : model };
}

/** @param file names the text in messages, and the run when the text does not */
export function parseConfig(
  text: string,
  file: string,
  sets: readonly string[],
  found: FoundWeights = NOTHING_FOUND,
): ReadConfig {
  const expected = expectedBy(configSchema);
  const source = parseSource(text, file);
  const { overrides, problems: flagProblems } = parseOverrides(sets, expected);
  if (source.tree === null) throw configError(file, [...source.problems, ...flagProblems]);

  const overridden = new Set(overrides.map((override) => override.path.join('.')));
  const converted = isFlat(source.tree)
    ? fromPaperFile(source.tree, overridden, configSchema)
    : { tree: source.tree, problems: [], unusable: new Set<string>(), notices: [] };
  const problems = [...source.problems, ...flagProblems, ...converted.problems];
  const tree = applyOverrides(converted.tree, overrides);
  fillIn(tree, file, found);
  problems.push(...expandPaths(tree));
  if (!converted.unusable.has('*'))
    problems.push(...checkTree(tree, new Set([...converted.unusable].filter((key) => !overridden.has(key)))));
  if (problems.length > 0) throw configError(file, problems);
  const config = resolveConfig(configSchema.parse(tree.value));
  return { config, notices: converted.notices, given: givenIn(tree), written: text.startsWith(writtenMark) };

  function checkTree(tree: Tree, known: Set<string>): Problem[] {
    const found = schemaProblems(configSchema, tree, expected, { unknownKey: (path) => suggestKey(expected, path) });
    // What a flat file got wrong was reported in its own words already.
    const fresh = found.problems.filter((_, i) => !known.has(found.paths[i] ?? ''));
    const unusable = new Set([...found.unusable, ...known]);
    const isUnusable = (key: string) => unusable.has(key) || unusable.has(key.split('.')[0] ?? '');
    const draft = draftOf(tree, isUnusable);
    const crossed = crossFieldRules.flatMap((rule) => rule(draft));
    return [
      ...fresh,
      ...crossed.map(({ path, text }) => problemAt(tree, path.split('.'), 'value', (label) => `${label} ${text}`)),
    ];
  }
}

/** The parts of the tree that can be relied on. */
function draftOf(tree: Tree, unusable: (path: string) => boolean): Draft {
  const section = (name: string) =>
    Object.fromEntries(
      Object.entries((tree.value[name] ?? {}) as Record<string, unknown>).filter(
        ([key]) => !unusable(`${name}.${key}`),
      ),
    );
  return { data: section('data'), model: section('model'), train: section('train'), unusable };
}

/** A section that is not there is an empty one: its missing keys are then named one by one. The name is the file's. */
function fillIn(tree: Tree, file: string, { pretrained, sizes }: FoundWeights): void {
  for (const section of sectionNames) tree.value[section] ??= {};
  const { model } = tree.value;
  if (typeof model === 'object' && model !== null)
    tree.value.model = {
      ...(sizes === null ? {} : { size: 'custom', ...sizes }),
      ...model,
      ...(pretrained === null ? {} : { pretrained }),
    };
  tree.value.name ??= path.basename(file).replace(/\.ya?ml$/i, '');
}

function givenIn({ value, origins }: Tree): ReadConfig['given'] {
  const valueAt = (path: string[]): unknown =>
    path.reduce<unknown>(
      (node, key) => (typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined),
      value,
    );
  return new Map(
    [...origins].map(([key, origin]) => {
      const path = key.split('\0');
      return [path.join('.'), { ...origin.value, value: valueAt(path) }];
    }),
  );
}

/** @param problems at least one; reported in the order of the file, then of the flags */
export function configError(file: string, problems: Problem[], code: ExitCodeName = 'usage'): GqaError {
  const lines = [...new Set([...problems].sort((a, b) => a.order - b.order).map(({ at, text }) => `${at} ${text}`))];
  const hints = [...new Set(problems.flatMap(({ hint }) => (hint ? [hint] : [])))];
  const message = lines.length === 1 ? (lines[0] ?? '') : `${file}: ${lines.length} problems\n${lines.join('\n')}`;
  return new GqaError(code, message, hints.length > 0 ? { hint: hints.join('\n') } : {});
}

/** The text of a config file. @throws GqaError `usage` when it is no text file, `io` when it cannot be read */
export function readText(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new GqaError('usage', `config ${file} does not exist`, { ...nearby(file), cause: error });
    if (code === 'EISDIR')
      throw new GqaError('usage', `config ${file} is a folder; expected a YAML file`, { cause: error });
    throw fileError(`cannot read config ${file}`, error);
  }
  if (bytes.length > maxBytes)
    throw new GqaError(
      'usage',
      `config ${file} has ${bytes.length} bytes; expected at most ${maxBytes}: is it a config?`,
    );
  try {
    // A byte order mark at the start is dropped by the decoder.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new GqaError('usage', `config ${file} is not UTF-8 text`, { hint: 'Save it as UTF-8.', cause: error });
  }
}

function nearby(file: string): { hint?: string } {
  try {
    const stem = (name: string) => name.replace(/\.ya?ml$/i, '');
    const files = readdirSync(path.dirname(file)).filter((name) => /\.ya?ml$/i.test(name));
    const near = closest(stem(path.basename(file)), files.map(stem));
    return near
      ? { hint: `Did you mean ${path.join(path.dirname(file), files.find((name) => stem(name) === near) ?? '')}?` }
      : {};
  } catch {
    return {}; // the folder does not exist either: the message says enough
  }
}

/** The first words of a file that `dumpConfig` wrote. */
const writtenMark = '# Written by gqa';

/** The resolved config as YAML, every key written out; `loadConfig` reads the same config back from it. */
export function dumpConfig(config: Config): string {
  return `${writtenMark}: every key, whether it has an effect here or not.\n${stringify(snakeKeys(config), { version: '1.2', lineWidth: 0 })}`;
}
