/** Whether a data set is still as a run saw it, for commands that work with that run's config. */
import path from 'node:path';
import type { Evaluable } from '../data/dataset.js';
import { asFingerprint, changesSince, fingerprint } from '../data/fingerprint.js';
import { readMeta } from '../run/meta.js';

/**
 * Warnings, none when nothing changed or the config is no run's.
 * @param configFile a run's config.yaml, or any other
 */
export function changesInData(configFile: string, dataset: Evaluable): string[] {
  const meta = path.basename(configFile) === 'config.yaml' ? readMeta(path.dirname(configFile)) : null;
  const then = asFingerprint(meta?.data);
  if (then === null) return [];
  const whole = dataset.train !== null;
  const changes = changesSince(then, fingerprint(dataset), whole);
  if (changes.length === 0) return [];
  const place = then.from === dataset.from ? dataset.from : `${dataset.from} (then ${then.from})`;
  return [
    `the data set is not as the run saw it, in ${place}: ${changes.join('; ')}. Its parts are drawn anew, so that figures do not compare with the run's`,
  ];
}
