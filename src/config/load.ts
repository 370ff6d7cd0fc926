/** A config file and the `--set` flags → `Config`, or one error with every problem, each at its file:line:column. And back: `dumpConfig`. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { GqaError } from '../errors.js';
import { fileError } from '../run/atomic.js';
import { closest, expectedBy, suggestKey } from './expectations.js';
import { applyOverrides, parseOverrides } from './overrides.js';
import { fromPaperFile, isFlat } from './paper.js';
import { schemaProblems } from './problems.js';
import { crossFieldRules, type Draft, resolveConfig, snakeKeys } from './resolve.js';
import { type Config, configSchema } from './schema.js';
import { type Problem, parseSource, problemAt, type Tree } from './source.js';

const maxBytes = 1_000_000;

/**
 * @param file YAML, in our form or in the paper's flat one
 * @param sets `train.lr=1e-4`, …: over the file, the last of a key winning
 * @throws GqaError `usage` with a line for every problem; `io` when the file exists but cannot be read
 */
export function loadConfig(file: string, sets: readonly string[]): Config {
  return readConfig(file, sets).config;
}

/** `loadConfig`, and with it what the user should be told on stderr: keys of the paper's files that are read otherwise than by the paper's code. */
export function readConfig(file: string, sets: readonly string[]): { config: Config; notices: string[] } {
  return parseConfig(readText(file), file, sets);
}

/** @param file names the text in messages, and the run when the text does not */
export function parseConfig(text: string, file: string, sets: readonly string[]): { config: Config; notices: string[] } {
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
  fillIn(tree, file);
  if (!converted.unusable.has('*'))
    problems.push(...checkTree(tree, new Set([...converted.unusable].filter((key) => !overridden.has(key)))));
  if (problems.length > 0) throw configError(file, problems);
  return { config: resolveConfig(configSchema.parse(tree.value)), notices: converted.notices };

  function checkTree(tree: Tree, known: Set<string>): Problem[] {
    const found = schemaProblems(configSchema, tree, expected, { unknownKey: (path) => suggestKey(expected, path) });
    // What a flat file got wrong was told in its own words already.
    const fresh = found.problems.filter((_, i) => !known.has(found.paths[i] ?? ''));
    const unusable = new Set([...found.unusable, ...known]);
    const isUnusable = (key: string) => unusable.has(key) || unusable.has(key.split('.')[0] ?? '');
    const draft = draftOf(tree, isUnusable);
    const crossed = crossFieldRules.flatMap((rule) => rule(draft));
    return [...fresh, ...crossed.map(({ path, text }) => problemAt(tree, path.split('.'), 'value', (label) => `${label} ${text}`))];
  }
}

/** The parts of the tree that can be relied on. */
function draftOf(tree: Tree, unusable: (path: string) => boolean): Draft {
  const section = (name: string) =>
    Object.fromEntries(Object.entries((tree.value[name] ?? {}) as Record<string, unknown>).filter(([key]) => !unusable(`${name}.${key}`)));
  return { data: section('data'), model: section('model'), train: section('train'), unusable };
}

/** A section that is not there is an empty one: its missing keys are then named one by one. The name is the file's. */
function fillIn(tree: Tree, file: string): void {
  for (const section of ['data', 'model', 'train', 'eval']) tree.value[section] ??= {};
  tree.value.name ??= path.basename(file).replace(/\.ya?ml$/i, '');
}

function configError(file: string, problems: Problem[]): GqaError {
  const lines = [...new Set([...problems].sort((a, b) => a.order - b.order).map(({ at, text }) => `${at} ${text}`))];
  const hints = [...new Set(problems.flatMap(({ hint }) => (hint ? [hint] : [])))];
  const message = lines.length === 1 ? (lines[0] ?? '') : `${file}: ${lines.length} problems\n${lines.join('\n')}`;
  return new GqaError('usage', message, hints.length > 0 ? { hint: hints.join('\n') } : {});
}

function readText(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new GqaError('usage', `config ${file} does not exist`, { ...nearby(file), cause: error });
    if (code === 'EISDIR') throw new GqaError('usage', `config ${file} is a folder; expected a YAML file`, { cause: error });
    throw fileError(`cannot read config ${file}`, error);
  }
  if (bytes.length > maxBytes)
    throw new GqaError('usage', `config ${file} has ${bytes.length} bytes; expected at most ${maxBytes}: is it a config?`);
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
    return near ? { hint: `Did you mean ${path.join(path.dirname(file), files.find((name) => stem(name) === near) ?? '')}?` } : {};
  } catch {
    return {}; // the folder does not exist either: the message says enough
  }
}

/** The resolved config as YAML, every key written out; `loadConfig` reads the same config back from it. */
export function dumpConfig(config: Config): string {
  return stringify(snakeKeys(config), { version: '1.2', lineWidth: 0 });
}
