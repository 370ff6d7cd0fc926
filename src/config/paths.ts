/**
 * The keys of a config that name files or folders: `~` in them, what they are without the working directory, and
 * whether what they name is there.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { closest } from './expectations.js';
import { expandHome, notExpanded } from './home.js';
import { defaultDataRoot } from './names.js';
import type { Config } from './schema.js';
import { shown } from './shown.js';
import { type Problem, pathKey, problemAt, type Tree } from './source.js';

/** Every key whose value is a path relative to the working directory. */
export const pathKeys = [
  'data.root',
  'data.cache',
  'model.pretrained',
  'model.grouping',
  'train.distill_from',
] as const;
export type PathKey = (typeof pathKeys)[number];

/** Whether a value that may be a name is a file: names have neither dots nor slashes. */
export const looksLikePath = (value: string): boolean => /[./\\~]/.test(value);

/** Expands `~` in the tree, in place, and gives what is wrong with paths whatever they name. */
export function expandPaths(tree: Tree): Problem[] {
  return pathKeys.flatMap((key) => {
    const [section = '', name = ''] = key.split('.');
    const values = tree.value[section];
    if (typeof values !== 'object' || values === null) return [];
    const mapping = values as Record<string, unknown>;
    const value = mapping[name];
    const problem = (text: string): Problem[] => [
      problemAt(tree, [section, name], 'value', (label) => `${label} ${text}`),
    ];
    const { uncut } = tree.origins.get(pathKey([section, name]))?.value ?? {};
    if (uncut !== undefined && existsSync(expandHome(uncut) ?? uncut))
      return problem(
        `is ${shown(value)}, since # begins a comment, but ${shown(uncut)} is there too: put the path in quotes`,
      );
    if (typeof value !== 'string') return [];
    if (value.includes('\0')) return problem('holds a NUL, which no path can');
    const expanded = expandHome(value);
    if (expanded === null) return problem(`is ${shown(value)}: ${notExpanded}`);
    mapping[name] = expanded;
    return [];
  });
}

/**
 * The config with its paths absolute, so that it means the same from every working directory. A data root that was not
 * chosen stays as it is: only then are the places looked at that a system has for data.
 */
export function absolutePaths(config: Config): Config {
  const absolute = <T extends string | null>(value: T): T => (value === null ? value : (path.resolve(value) as T));
  const { data, model, train } = config;
  return {
    ...config,
    data: {
      ...data,
      root: data.root === defaultDataRoot ? data.root : absolute(data.root),
      cache: absolute(data.cache),
    },
    model: {
      ...model,
      pretrained: absolute(model.pretrained),
      grouping: looksLikePath(model.grouping) ? absolute(model.grouping) : model.grouping,
    },
    train: { ...train, distillFrom: absolute(train.distillFrom) },
  };
}

/** What a config says of a path key; null where it says none. */
export function pathOf({ data, model, train }: Config, key: PathKey): string | null {
  return {
    'data.root': data.root,
    'data.cache': data.cache,
    'model.pretrained': model.pretrained,
    'model.grouping': looksLikePath(model.grouping) ? model.grouping : null,
    'train.distill_from': train.distillFrom,
  }[key];
}

/** `/work/vit.safetensor does not exist; did you mean vit.safetensors?`; undefined when it does. */
export function missing(file: string): string | undefined {
  const absolute = path.resolve(file);
  if (existsSync(absolute)) return undefined;
  let folder = path.dirname(absolute);
  if (existsSync(folder)) {
    const near = closest(path.basename(absolute), readable(folder));
    return `${absolute} does not exist${near === undefined ? '' : `; did you mean ${near}?`}`;
  }
  while (!existsSync(folder) && path.dirname(folder) !== folder) folder = path.dirname(folder);
  return `${absolute} does not exist (${folder} does)${/[$%]/.test(file) ? '; variables are not expanded' : ''}`;
}

function readable(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // no name can be proposed then
  }
}
