/** YAML text → plain values, with the place of every key and value, so that each problem found later can be shown where it was written. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type ParsedNode, parseDocument } from 'yaml';

/** Where something was written. */
export interface Origin {
  /** `configs/food.yaml:12:7`, or `--set train.lr=1:`. */
  at: string;
  /** The key as its writer knows it: `model.kv_heads`, or `num_kv_heads` in one of the paper's flat files. */
  label: string;
  /** Problems are listed by this: byte offsets in the file first, then the flags in their order. */
  order: number;
}

export interface Problem {
  at: string;
  order: number;
  text: string;
  hint?: string;
}

export type Path = readonly string[];

/** A mapping as written, with the origins of its keys and values by path (`pathKey`). */
export interface Tree {
  value: Record<string, unknown>;
  origins: Map<string, { key: Origin; value: Origin }>;
}

/** NUL cannot be typed into a key by accident; a dot can. */
export const pathKey = (path: Path): string => path.join('\0');

/** The problem with its place: the value's, the key's, or for something missing that of the nearest section around it. */
export function problemAt(tree: Tree, path: Path, part: 'key' | 'value', text: (label: string) => string, hint?: string): Problem {
  const found = tree.origins.get(pathKey(path));
  let around = found;
  for (let length = path.length - 1; around === undefined && length >= 0; length--)
    around = tree.origins.get(pathKey(path.slice(0, length)));
  const origin = around?.[found ? part : 'key'] ?? { at: '', label: '', order: 0 };
  return { at: origin.at, order: origin.order, text: text(found ? origin.label : path.join('.')), ...(hint ? { hint } : {}) };
}

/** Shown in messages: short, on one line, control characters escaped. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value))
    return value.length <= 4 && value.every((item) => typeof item === 'number') ? `[${value.join(', ')}]` : 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value);
}

/** A key in a message: as it is when it is a plain word, else quoted and escaped. */
export const shownKey = (key: string): string => (/^[\w.-]{1,60}$/.test(key) ? key : shown(key));

const maxNodes = 10_000;
const maxDepth = 40;

/** In words of our own: what the parser says about these is about YAML's grammar rather than about what to do. */
const syntaxMessages: Record<string, string> = {
  TAB_AS_INDENT: 'a tab cannot indent in YAML: use blanks',
  MULTIPLE_DOCS: 'a second document starts here ("---"): a config is one document',
};

/**
 * @param name shown before line and column
 * @returns the tree, or null when the text is no YAML mapping; `problems` then say why
 */
export function parseSource(text: string, name: string): { tree: Tree | null; problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: '1.2', merge: false, stringKeys: false });
  const at = (offset: number): { at: string; order: number } => {
    const { line, col } = lines.linePos(offset);
    return { at: `${name}:${Math.max(1, line)}:${Math.max(1, col)}`, order: offset };
  };
  const problems: Problem[] = [];
  for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
    // Duplicate keys are found below, with their names.
    if (code !== 'DUPLICATE_KEY') problems.push({ ...at(pos[0]), text: syntaxMessages[code] ?? `is not YAML here: ${message}` });
  }
  if (problems.length > 0) return { tree: null, problems };
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    return { tree: null, problems: [{ ...at(0), text: 'the file is empty; expected a config with at least data.name and model.size' }] };
  }

  const origins: Tree['origins'] = new Map();
  let nodes = 0;
  const read = (node: Node | ParsedNode | null, path: Path, offset: number): unknown => {
    if (++nodes > maxNodes || path.length > maxDepth) {
      if (nodes <= maxNodes + 1)
        problems.push({
          ...at(offset),
          text: `is too large: more than ${maxNodes} values or ${maxDepth} levels (aliases counted as often as they are used)`,
        });
      nodes = maxNodes + 1;
      return null;
    }
    if (node === null) return null;
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (target !== undefined) return read(target, path, offset);
      problems.push({ ...at(offset), text: `*${node.source} has no anchor &${node.source} before it` });
      return null;
    }
    if (isScalar(node)) return node.value;
    if (isSeq(node)) return node.items.map((item, i) => read(item as Node, [...path, String(i)], offset));
    if (!isMap(node)) return null;
    const value: Record<string, unknown> = Object.create(null);
    for (const { key, value: item } of node.items) {
      const keyNode = key as ParsedNode | null;
      const keyAt = at(keyNode?.range?.[0] ?? offset);
      if (!isScalar(keyNode)) {
        problems.push({ ...keyAt, text: 'a key must be a plain word' });
        continue;
      }
      const word = String(keyNode.value);
      const itemPath = [...path, word];
      const label = itemPath.map(shownKey).join('.');
      if (word === '__proto__') problems.push({ ...keyAt, text: '__proto__ is not a key' });
      else if (word === '<<') problems.push({ ...keyAt, text: 'merge keys (<<) are not read: write the keys out' });
      else if (word in value)
        problems.push({
          ...keyAt,
          text: `${label} is given twice; the first time at ${origins.get(pathKey(itemPath))?.key.at ?? 'an earlier line'}`,
        });
      else {
        const itemNode = item as ParsedNode | null;
        const valueOffset = itemNode?.range?.[0] ?? keyNode.range?.[0] ?? offset;
        origins.set(pathKey(itemPath), { key: { ...keyAt, label }, value: { ...at(valueOffset), label } });
        value[word] = read(itemNode, itemPath, valueOffset);
      }
    }
    return value;
  };
  const start = { ...at(document.contents.range?.[0] ?? 0), label: 'the config' };
  origins.set('', { key: start, value: start });
  const value = read(document.contents, [], start.order);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {
      tree: null,
      problems: [
        ...problems,
        { ...at(start.order), text: `the file holds ${shown(value)}; expected a mapping of keys such as data, model and train` },
      ],
    };
  }
  return { tree: { value: value as Record<string, unknown>, origins }, problems };
}
