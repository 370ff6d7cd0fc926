/** Test images that one way of sharing heads gets wrong and MHA right: counts, and the ones that it is surest of. */
import { type Predicted, predictionsIn } from '../run/predictions.js';
import { grouped } from '../sweep/summary.js';
import { methodName, type ReportedRun } from './gather.js';

export interface Changes {
  /** The method, and the seed that both runs have. */
  name: string;
  run: string;
  /** Test images of both. */
  images: number;
  /** Right by MHA and wrong now, and the other way round. */
  lost: number;
  gained: number;
  /** Some that were lost. */
  shown: Predicted[];
}

/**
 * Of each method the first run with an MHA run of its seed and axes beside it.
 * @param most that are shown of a method
 */
export function changesOf(runs: readonly ReportedRun[], most: number): Changes[] {
  const likeness = ({ seed, axes }: ReportedRun['point']): string => JSON.stringify([seed, axes]);
  const controls = new Map<string, Map<string, Predicted>>();
  for (const { point, run } of runs) {
    const found = point.variant === 'mha' ? predictionsIn(run) : null;
    if (found !== null) controls.set(likeness(point), new Map(found.map((each) => [each.image, each])));
  }
  const others = runs.filter(({ point }) => point.variant !== 'mha');
  return [...grouped(others, ({ point }) => methodName(point))].flatMap(([method, group]) => {
    for (const { point, run } of group) {
      const control = controls.get(likeness(point));
      const own = control === undefined ? null : predictionsIn(run);
      if (control === undefined || own === null) continue;
      const both = own.flatMap((now): [Predicted, Predicted][] => {
        const before = control.get(now.image);
        return before === undefined ? [] : [[before, now]];
      });
      const isRight = ({ label, predicted }: Predicted): boolean => label === predicted;
      const lost = both.filter(([before, now]) => isRight(before) && !isRight(now)).map(([, now]) => now);
      const gained = both.filter(([before, now]) => !isRight(before) && isRight(now)).length;
      const shown = lost.sort((a, b) => b.probability - a.probability).slice(0, most);
      return [{ name: `${method}, seed ${point.seed}`, run, images: both.length, lost: lost.length, gained, shown }];
    }
    return [];
  });
}
