/** What `gqa eval` keeps in a run: eval/<split>/metrics.json. */
import path from 'node:path';
import { checkFolder, makeFolder, writeFileAtomic } from '../files/atomic.js';

const folderOf = (run: string, split: string): string => path.join(run, 'eval', split);

/** Says before anything is computed whether it can be written. @throws GqaError `io` */
export const checkEvaluation = (run: string, split: string): void =>
  checkFolder(folderOf(run, split), `cannot write ${path.join(folderOf(run, split), 'metrics.json')}`);

/** @param others files beside metrics.json. @throws GqaError `io` */
export function writeEvaluation(
  run: string,
  split: string,
  report: object,
  others: Readonly<Record<string, string>> = {},
): void {
  makeFolder(folderOf(run, split));
  writeFileAtomic(path.join(folderOf(run, split), 'metrics.json'), `${JSON.stringify(report, null, 2)}\n`);
  for (const [name, text] of Object.entries(others)) writeFileAtomic(path.join(folderOf(run, split), name), text);
}
