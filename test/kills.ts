/** Runs that are killed and go on, and what must be as if nothing had happened. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

const bin = path.resolve('bin/gqa.js');
const point = new URL('./kill-point.js', import.meta.url).href;

/** What tells how long something took, or how much memory: no two runs have the same. */
const MEASURED = new Set(['time_s', 'images_per_s', 'rss_mb', 'tensors', 'data_wait']);

/** Everything of a run that must not depend on how often it was stopped, by file. */
export function resultOf(run: string): Record<string, string> {
  const read = (file: string): string => fs.readFileSync(path.join(run, file), 'utf8');
  const [header = '', ...rows] = read('results.csv').trimEnd().split('\n');
  const kept = header.split(',').flatMap((name, i) => (MEASURED.has(name) ? [] : [i]));
  const lines = read('metrics.jsonl').trimEnd().split('\n');
  const others = ['skipped.jsonl', 'damaged.jsonl', 'conversion.json'].filter((file) =>
    fs.existsSync(path.join(run, file)),
  );
  const models = ['best', 'last'].map((which) => `checkpoints/${which}/model.safetensors`);
  return {
    'results.csv': [header, ...rows].map((row) => kept.map((i) => row.split(',')[i]).join(',')).join('\n'),
    'metrics.jsonl': lines
      .map((line) => JSON.stringify(JSON.parse(line, (key, value) => (MEASURED.has(key) ? undefined : value))))
      .join('\n'),
    ...Object.fromEntries(others.map((file) => [file, read(file)])),
    ...Object.fromEntries(models.map((file) => [file, fs.readFileSync(path.join(run, file)).toString('base64')])),
    status: JSON.parse(read('status.json')).state,
  };
}

/** Compared file by file, so that a difference is told by its file. */
export function assertSame(run: string, reference: string, how: string): void {
  const [found, expected] = [resultOf(run), resultOf(reference)];
  assert.deepEqual(Object.keys(found), Object.keys(expected), how);
  for (const [file, content] of Object.entries(expected))
    assert.ok(
      found[file] === content,
      `${how}: ${file} differs${content.length < 5000 ? `\n${found[file]}\n${content}` : ''}`,
    );
}

const resumed = (args: string[]): string[] => [...args, '--resume', 'auto'];

/** To its end, from wherever it is. @returns stderr */
export function finished(args: string[], env: NodeJS.ProcessEnv = {}): string {
  const { status, stderr } = spawnSync(process.execPath, [bin, ...resumed(args)], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  assert.equal(status, 0, stderr);
  return stderr;
}

/** Killed at a change on the disk (`main 12`, `thread 3`). @returns whether it was */
export function killedAt(args: string[], change: string): boolean {
  const { signal, status, stderr } = spawnSync(process.execPath, ['--import', point, bin, ...resumed(args)], {
    encoding: 'utf8',
    env: { ...process.env, KILL_AT: change },
  });
  assert.ok(signal === 'SIGKILL' || status === 0, `${change}: exit ${status}\n${stderr}`);
  return signal === 'SIGKILL';
}

/** How often a whole run changes something on the disk. */
export function changesOf(args: string[], folder: string): { main: number; thread: number } {
  const counts = path.join(folder, 'changes');
  const { status, stderr } = spawnSync(process.execPath, ['--import', point, bin, ...resumed(args)], {
    encoding: 'utf8',
    env: { ...process.env, COUNT_TO: counts },
  });
  assert.equal(status, 0, stderr);
  const lines = fs.readFileSync(counts, 'utf8').split('\n');
  const of = (where: string): number => lines.filter((line) => line === where).length;
  return { main: of('main'), thread: of('thread') };
}

/** Killed after so many milliseconds, with all that it started. @returns whether it still ran */
export async function killedAfter(args: string[], ms: number): Promise<boolean> {
  const child = spawn(process.execPath, [bin, ...resumed(args)], { stdio: 'ignore' });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
  await Promise.race([ended, setTimeout(ms)]);
  child.kill('SIGKILL');
  return (await ended) === 'SIGKILL';
}
