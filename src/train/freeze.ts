/** Which parameters a run trains. */
import { isKeyOrValue, type ParameterSpec } from '../model/params.js';

const isHead = ({ role }: ParameterSpec): boolean => role === 'head';

/**
 * Whether a parameter keeps its value, by what the config calls it. Fresh heads have to learn their classes: only
 * `head` freezes them.
 */
const FROZEN = {
  none: () => false,
  /** All but the head: a linear probe. */
  all: (spec) => !isHead(spec),
  /** The key and value projections, which conversion merged. */
  kv: isKeyOrValue,
  head: isHead,
  /** What conversion merged learns, and the head; nothing else. */
  'all-but-kv': (spec) => !isKeyOrValue(spec) && !isHead(spec),
} as const satisfies Record<string, (spec: ParameterSpec) => boolean>;

export type FreezeName = keyof typeof FROZEN;

export const isTrained = (spec: ParameterSpec, freeze: FreezeName): boolean => !FROZEN[freeze](spec);
