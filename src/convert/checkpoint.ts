/** A checkpoint as a model of the wanted grouping: read as it is, then grouped where it is MHA. */
import { otherHeads, type ReadCheckpoint, readCheckpoint, type WantedShape } from '../checkpoint/read.js';
import { type Grouping, isMha, isSorted, kvHeadsFigure, sameGrouping } from '../model/grouping.js';
import { arrangedGroups } from './arrange.js';
import { regroup } from './convert.js';
import { mean } from './merges/mean.js';
import type { MergeRule } from './merges/rule.js';
import type { LayerStatistics } from './statistics.js';

export interface Converted extends ReadCheckpoint {
  /** KV heads of the checkpoint, or of each of its layers; equal to the wanted ones when nothing was merged. */
  fromKvHeads: number | number[];
  /** For each layer and place of a head the place that it had in the checkpoint. */
  order: number[][];
}

/**
 * @param shape   with the wanted grouping
 * @param classes see `readCheckpoint`
 * @param how     the merge, and the statistics that it asks for
 * @throws GqaError as `readCheckpoint`, and `usage` when the file is grouped already and in another way
 */
export function convertCheckpoint(
  path: string,
  shape: WantedShape,
  seed: number,
  classes: readonly string[] | null = null,
  how: { merge: MergeRule; statistics: readonly LayerStatistics[] | null } = { merge: mean, statistics: null },
): Converted {
  return converted(readCheckpoint(path, shape, seed, classes), path, shape.grouping, how);
}

/** The same of a checkpoint that was read. */
export function converted(
  read: ReadCheckpoint,
  path: string,
  grouping: Grouping,
  how: { merge: MergeRule; statistics: readonly LayerStatistics[] | null },
): Converted {
  const own = read.shape.grouping;
  const fromKvHeads = kvHeadsFigure(own);
  if (isMha(own)) {
    const { values, grouping: found, order } = regroup(read.values, read.shape, grouping, how.merge, how.statistics);
    return { ...read, values, shape: { ...read.shape, grouping: found }, fromKvHeads, order };
  }
  const wanted = grouping.map((groups) => (isSorted(groups) ? groups : arrangedGroups(groups)));
  if (read.card !== null && !sameGrouping(own, wanted))
    throw otherHeads({ path }, read.card, { heads: read.shape.heads, grouping });
  return { ...read, fromKvHeads, order: own.map((groups) => groups.map((_, head) => head)) };
}
