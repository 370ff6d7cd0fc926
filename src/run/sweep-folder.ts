/** The folder of a sweep below runs/: its plan, a config for every point, the runs, and the leaderboard. */
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';
import { fileError, writeFileAtomic } from '../files/atomic.js';
import { checkRun } from './run-folder.js';

/** The folder must be new: a leaderboard tells of one sweep. */
export function makeSweepFolder(runsDir: string, name: string): string {
  checkRun({ runsDir, name });
  const folder = path.join(runsDir, name);
  try {
    mkdirSync(runsDir, { recursive: true });
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new GqaError('usage', `${folder} exists already`, {
        hint: 'It holds no plan.jsonl, so that it is no sweep to go on with. Choose another --name, or leave it out: the sweep is then named by its time.',
        cause: error,
      });
    }
    throw fileError(`cannot make ${folder}`, error);
  }
  return folder;
}

/**
 * A config for every point, before the first of them starts: editing the base config meanwhile changes no point.
 * @param texts by the point's run name
 * @returns the files, in the same order
 */
export function writeConfigs(folder: string, texts: Record<string, string>): string[] {
  const configs = path.join(folder, 'configs');
  try {
    mkdirSync(configs, { recursive: true });
  } catch (error) {
    throw fileError(`cannot make ${configs}`, error);
  }
  return Object.entries(texts).map(([runName, text]) => {
    const file = configIn(folder, runName);
    writeFileAtomic(file, text);
    return file;
  });
}

export const configIn = (folder: string, runName: string): string => path.join(folder, 'configs', `${runName}.yaml`);

export const planIn = (folder: string): string => path.join(folder, 'plan.jsonl');

/** A line a point, in the order in which they are run. */
export const writePlan = (folder: string, points: readonly object[]): void =>
  writeFileAtomic(planIn(folder), points.map((point) => `${JSON.stringify(point)}\n`).join(''));

export const leaderboardIn = (folder: string): string => path.join(folder, 'leaderboard.csv');

/** @returns the script's file */
export function writeSlurmScript(folder: string, script: string): string {
  const file = path.join(folder, 'slurm', 'array.sh');
  try {
    mkdirSync(path.dirname(file), { recursive: true });
  } catch (error) {
    throw fileError(`cannot make ${path.dirname(file)}`, error);
  }
  writeFileAtomic(file, script);
  return file;
}

/** A job array of Slurm: which run each task is. */
export interface SlurmJob {
  job: string;
  runs: string[];
}

const slurmJobs = (folder: string): string => path.join(folder, 'slurm', 'jobs.jsonl');

/** What was submitted for a sweep, oldest first. @throws GqaError `io` for a file that cannot be read */
export function slurmJobsIn(folder: string): SlurmJob[] {
  const file = slurmJobs(folder);
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as SlurmJob);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError(`cannot read ${file}`, error);
  }
}

export const noteSlurmJob = (folder: string, job: SlurmJob): void =>
  writeFileAtomic(slurmJobs(folder), [...slurmJobsIn(folder), job].map((each) => `${JSON.stringify(each)}\n`).join(''));

/** Means over seeds. @throws GqaError `io` */
export const writeSummary = (folder: string, csv: string): void =>
  writeFileAtomic(path.join(folder, 'summary.csv'), csv);

/** @throws GqaError `io` */
export const writeLeaderboard = (folder: string, csv: string): void => writeFileAtomic(leaderboardIn(folder), csv);
