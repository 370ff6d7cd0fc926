/** Which parameters a run trains. */

/**
 * Whether a parameter keeps its value, by what the config calls it. Fresh heads have to learn their classes: only
 * `head` freezes them.
 */
const FROZEN = {
  none: () => false,
  /** All but the head: a linear probe. */
  all: (name) => !isHead(name),
  /** The key and value projections, which conversion merged. */
  kv: (name) => isKeyOrValue(name),
  head: (name) => isHead(name),
  /** What conversion merged learns, and the head; nothing else. */
  'all-but-kv': (name) => !isKeyOrValue(name) && !isHead(name),
} as const satisfies Record<string, (name: string) => boolean>;

export type FreezeName = keyof typeof FROZEN;

const isHead = (name: string): boolean => name.startsWith('head.');
const isKeyOrValue = (name: string): boolean => /\.attn\.[kv]\./.test(name);

/** @param name as in model/params.ts */
export const isTrained = (name: string, freeze: FreezeName): boolean => !FROZEN[freeze](name);
