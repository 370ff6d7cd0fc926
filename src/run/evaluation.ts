/** What is kept in a run of its evaluations: eval/<split>/, metrics.json of `gqa eval`, and of the test at its end too confusion.csv and predictions.csv. */
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
  writeOfEvaluation(run, split, { 'metrics.json': `${JSON.stringify(report, null, 2)}\n`, ...others });
}

/** @param files their texts, by name. @throws GqaError `io` */
export function writeOfEvaluation(run: string, split: string, files: Readonly<Record<string, string>>): void {
  makeFolder(folderOf(run, split));
  for (const [name, text] of Object.entries(files)) writeFileAtomic(path.join(folderOf(run, split), name), text);
}
