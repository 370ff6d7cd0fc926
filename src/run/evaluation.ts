/** What is kept in a run of its evaluations: test/ of the test at its end, eval/<split>/ of `gqa eval`. */
import path from 'node:path';
import { checkFolder, makeFolder, writeFileAtomic } from '../files/atomic.js';

const folderOf = (run: string, split: string): string => path.join(run, 'eval', split);

/** Of the test at the run's end: the model that training chose, by the run's own config. */
export const testedIn = (run: string): string => path.join(run, 'test');

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
  writeAll(folderOf(run, split), { 'metrics.json': `${JSON.stringify(report, null, 2)}\n`, ...others });
}

/** @param files their texts, by name. @throws GqaError `io` */
export const writeTested = (run: string, files: Readonly<Record<string, string>>): void =>
  writeAll(testedIn(run), files);

function writeAll(folder: string, files: Readonly<Record<string, string>>): void {
  makeFolder(folder);
  for (const [name, text] of Object.entries(files)) writeFileAtomic(path.join(folder, name), text);
}
