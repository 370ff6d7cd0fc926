/**
 * YAML text → plain values, with the place of every key and value, so that each problem found later can be shown where
 * it was written.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type ParsedNode, parseDocument } from 'yaml';
import { shown, shownKey } from './shown.js';
import { foldedSlip, syntaxSlip } from './slips.js';

/** Where something was written. */
export interface Origin {
  /** `configs/food.yaml:12:7`, or `--set train.lr=1:`. */
  at: string;
  /** The key as its writer knows it: `model.kv_heads`, or `num_kv_heads` in one of the paper's flat files. */
  label: string;
  /** Problems are listed by this: byte offsets in the file first, then the flags in their order. */
  order: number;
  /** Given by `--set`. */
  flag?: boolean;
  /**
   * The text up to the line's end, of a plain or empty value that a comment follows: `/data/set #2` of which
   * `/data/set` is the value.
   */
  uncut?: string;
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

/**
 * The problem with its place: the value's, the key's, or for something missing that of the nearest section around it.
 */
export function problemAt(
  tree: Tree,
  path: Path,
  part: 'key' | 'value',
  text: (label: string) => string,
  hint?: string,
): Problem {
  const found = tree.origins.get(pathKey(path));
  let around = found;
  for (let length = path.length - 1; around === undefined && length >= 0; length--)
    around = tree.origins.get(pathKey(path.slice(0, length)));
  const origin = around?.[found ? part : 'key'] ?? { at: '', label: '', order: 0 };
  return {
    at: origin.at,
    order: origin.order,
    text: text(found ? origin.label : path.join('.')),
    ...(hint ? { hint } : {}),
  };
}

const maxNodes = 10_000;
const maxDepth = 40;

/**
 * @param name shown before line and column
 * @returns the tree, or null when the text is no YAML mapping; `problems` then say why
 */
export function parseSource(text: string, name: string): { tree: Tree | null; problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    version: '1.2',
    merge: false,
    stringKeys: false,
  });
  const at = (offset: number): { at: string; order: number } => {
    const { line, col } = lines.linePos(offset);
    return { at: `${name}:${Math.max(1, line)}:${Math.max(1, col)}`, order: offset };
  };
  const problems: Problem[] = [];
  // One slip makes several errors: the first tells of it. Duplicate keys are found below, with their names.
  const [error] = [...document.errors, ...document.warnings].filter(({ code }) => code !== 'DUPLICATE_KEY');
  if (error) {
    const slip = syntaxSlip(text, { code: error.code, message: error.message, offset: error.pos[0] });
    return { tree: null, problems: [{ ...at(slip.offset), text: slip.text }] };
  }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    return {
      tree: null,
      problems: [{ ...at(0), text: 'the file is empty; expected a config with at least data.name and model.size' }],
    };
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
      problems.push({
        ...at(offset),
        text: `*${node.source} has no anchor &${node.source} before it (text that begins with * must stand in quotes)`,
      });
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
        origins.set(pathKey(itemPath), {
          key: { ...keyAt, label },
          value: { ...at(valueOffset), label, ...uncut(text, keyNode, itemNode) },
        });
        if (isScalar(itemNode) && itemNode.anchor !== undefined && itemNode.source === '')
          problems.push({
            ...keyAt,
            text: `${label} is empty but for &${itemNode.anchor}: text that begins with & must stand in quotes`,
          });
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
        {
          ...at(start.order),
          text: `the file holds ${shown(value)}; expected a mapping of keys such as data, model and train${slipOf(value)}`,
        },
      ],
    };
  }
  return { tree: { value: value as Record<string, unknown>, origins }, problems };
}

/** The line of a plain or empty value up to its end, where a comment follows: what was perhaps meant. */
function uncut(text: string, key: ParsedNode, value: ParsedNode | null): { uncut?: string } {
  if (!isScalar(value) || (value.type !== 'PLAIN' && value.source !== '') || !key.range) return {};
  const from = value.source === '' ? text.indexOf(':', key.range[1]) + 1 : (value.range?.[0] ?? 0);
  const line = /^[^\r\n]*/.exec(text.slice(from))?.[0].trim() ?? '';
  return line.startsWith('#') || /\s#/.test(line.slice(value.source?.length ?? 0)) ? { uncut: line } : {};
}

const slipOf = (value: unknown): string => {
  const slip = typeof value === 'string' ? foldedSlip(value) : undefined;
  return slip === undefined ? '' : `; ${slip}`;
};
