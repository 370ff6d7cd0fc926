/**
 * Who reads whom: for each layer, the group of every query head. A group is what shares one key-value head, so that a
 * layer has as many KV heads K as groups. Layers may differ in K, and groups in size. Everything else is derived.
 */

/** One layer: the group of head h, for every h; groups are numbered from 0 without gaps. */
export type Groups = readonly number[];

/** [depth][heads] */
export type Grouping = readonly Groups[];

/** A layer's groups of neighbouring heads: equal ones, or where `kvHeads` does not divide as equal as can be. */
export const neighbouring = (heads: number, kvHeads: number): Groups =>
  Array.from({ length: heads }, (_, head) => Math.floor((head * kvHeads) / heads));

/** `kvHeads` equal groups of neighbouring heads in every layer. @throws RangeError when `kvHeads` does not divide */
export function neighbours(depth: number, heads: number, kvHeads: number): Grouping {
  if (heads % kvHeads !== 0) throw new RangeError(`${kvHeads} KV heads do not divide ${heads} heads`);
  const layer = neighbouring(heads, kvHeads);
  return Array.from({ length: depth }, () => layer);
}

/** Numbers of KV heads that equal groups of so many heads can have, ascending. */
export const divisorsOf = (heads: number): number[] =>
  Array.from({ length: heads }, (_, i) => i + 1).filter((kvHeads) => heads % kvHeads === 0);

/** KV heads K of a layer. */
export const kvHeadsOf = (groups: Groups): number => groups.reduce((most, group) => Math.max(most, group), -1) + 1;

/** Heads of each group, [K]. */
export function groupSizes(groups: Groups): number[] {
  const sizes = new Array<number>(kvHeadsOf(groups)).fill(0);
  for (const group of groups) sizes[group] = (sizes[group] ?? 0) + 1;
  return sizes;
}

/** The heads of each group, ascending, [K][…]. */
export function membersOf(groups: Groups): number[][] {
  return groupSizes(groups).map((_, g) => groups.flatMap((group, head) => (group === g ? [head] : [])));
}

/** Whether all groups of a layer have the same size. */
export const isEqual = (groups: Groups): boolean => new Set(groupSizes(groups)).size === 1;

/** Whether the heads of a group lie side by side, and the groups in order of their numbers. */
export const isSorted = (groups: Groups): boolean =>
  groups.every((group, h) => h === 0 || group >= (groups[h - 1] ?? 0));

/** Equal groups of neighbours: attention then needs no selection of heads. MHA is the case of groups of one head. */
export const isNeighbours = (groups: Groups): boolean => isSorted(groups) && isEqual(groups);

/** One-hot rows, [H][K]. */
export const oneHot = (groups: Groups): number[][] =>
  groups.map((group) => Array.from({ length: kvHeadsOf(groups) }, (_, g) => (g === group ? 1 : 0)));

/** KV heads of all layers together. */
export const totalKvHeads = (grouping: Grouping): number =>
  grouping.reduce((sum, groups) => sum + kvHeadsOf(groups), 0);

/** The number of KV heads that all layers have; null when they differ. */
export function commonKvHeads(grouping: Grouping): number | null {
  const [first, ...others] = new Set(grouping.map(kvHeadsOf));
  return first !== undefined && others.length === 0 ? first : null;
}

/** For records: the number of KV heads that all layers have, or that of each layer. */
export const kvHeadsFigure = (grouping: Grouping): number | number[] =>
  commonKvHeads(grouping) ?? grouping.map(kvHeadsOf);

/** Whether no layer shares anything: multi-head attention. */
export const isMha = (grouping: Grouping): boolean => grouping.every((groups) => kvHeadsOf(groups) === groups.length);

export const sameGrouping = (a: Grouping, b: Grouping): boolean =>
  a.length === b.length &&
  a.every((groups, i) => groups.length === b[i]?.length && groups.every((group, h) => group === b[i]?.[h]));

/** What is wrong with labels as they were given, after "layer 3 …"; null: nothing. */
export function groupsProblem(groups: readonly unknown[], heads: number): string | null {
  if (groups.length !== heads) return `has ${groups.length} labels; expected one for each of ${heads} heads`;
  const wrong = groups.find((group) => !Number.isInteger(group) || (group as number) < 0 || (group as number) >= heads);
  if (wrong !== undefined) return `has the label ${String(wrong)}; expected whole numbers from 0 to ${heads - 1}`;
  const missing = groupSizes(groups as Groups).indexOf(0);
  return missing < 0 ? null : `skips group ${missing}; expected groups numbered from 0 without gaps`;
}

/** In words: `4 KV heads`, or for layers that differ `1, 2, 3 and 5 KV heads (by layer)`. */
export const kvHeadsInWords = (grouping: Grouping): string => figureInWords(kvHeadsFigure(grouping));

/** The same of what a record holds. */
export function figureInWords(kvHeads: number | number[]): string {
  if (typeof kvHeads === 'number') return `${kvHeads} KV head${kvHeads === 1 ? '' : 's'}`;
  return `${kvHeads.slice(0, -1).join(', ')} and ${kvHeads.at(-1)} KV heads (by layer)`;
}

/** Who reads whom in a model: keys, and values where they are grouped otherwise. */
export interface Sharing {
  grouping: Grouping;
  valueGrouping?: Grouping | undefined;
}

/** Whether neither keys nor values are shared: multi-head attention. */
export const sharesNothing = ({ grouping, valueGrouping = grouping }: Sharing): boolean =>
  isMha(grouping) && isMha(valueGrouping);

/** In words: `4 KV heads`, or where values are grouped apart `1 key head and 5 value heads`. */
export function sharingInWords({ grouping, valueGrouping }: Sharing): string {
  if (valueGrouping === undefined) return kvHeadsInWords(grouping);
  const of = (each: Grouping, what: string): string => kvHeadsInWords(each).replace('KV', what);
  return `${of(grouping, 'key')} and ${of(valueGrouping, 'value')}`;
}

/** For records: `kv_heads` of keys and values, or of keys where `value_heads` says another number of values. */
export const sharingRecord = ({
  grouping,
  valueGrouping,
}: Sharing): { kv_heads: number | number[]; value_heads?: number | number[] } => ({
  kv_heads: kvHeadsFigure(grouping),
  ...(valueGrouping === undefined ? {} : { value_heads: kvHeadsFigure(valueGrouping) }),
});
