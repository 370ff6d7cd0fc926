/** Runs `gqa` as a user does: in a process of its own. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

const bin = path.resolve('bin/gqa.js');

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** @param cwd the folder to run in; the repository's by default */
export function gqa(args: string[], cwd: string = process.cwd(), env: NodeJS.ProcessEnv = {}): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { code: status, stdout, stderr };
}

const atPoint = new URL('./at-point.js', import.meta.url).href;

/** The same with something that happens to it on its way: see at-point.ts. */
export function gqaAt(at: string, then: string, args: string[]): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', atPoint, bin, ...args], {
    encoding: 'utf8',
    env: { ...process.env, AT: at, THEN: then },
  });
  return { code: status, stdout, stderr };
}

export const temporaryFolder = (): string => fs.mkdtempSync(path.join(os.tmpdir(), 'gqa-'));

/** Every file below a folder with its size and time, for “nothing was changed on disk”. */
export function snapshot(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((entry) => {
      const { size, mtimeMs } = fs.lstatSync(path.join(folder, entry));
      return `${entry} ${size} ${mtimeMs}`;
    });
}

/** Waits for what another process does. @throws after a minute, and what looking takes */
export async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1200; i++) {
    if (what()) return;
    await setTimeout(50);
  }
  throw new Error('it does not come');
}
