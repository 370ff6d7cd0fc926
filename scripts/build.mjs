/** Compiles src/ and test/ into dist/ with the project's tsc, only when something that goes into it has changed. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const STAMP = '.build-inputs';

/**
 * @param {string} root
 * @param {(line: string) => void} notice
 * @throws {Error} with the compiler's own words when there is a type error; the former dist/ then stays as it was
 */
export function buildProject(root, notice) {
  const inputs = hashInputs(root);
  const dist = path.join(root, 'dist');
  if (readStamp(dist) === inputs) return;
  notice('compiling TypeScript');
  // Into a new folder, which then takes the old one's place: what was removed from src/ does not linger, and nobody
  // runs a half-written build.
  const fresh = path.join(root, `dist.${process.pid}`);
  const old = path.join(root, `dist.${process.pid}.old`);
  try {
    const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
    const result = spawnSync(process.execPath, [compiler, '-p', root, '--outDir', fresh], {
      cwd: root,
      encoding: 'utf8',
    });
    if (result.status !== 0)
      throw new Error(
        `The build failed:\n${`${result.stdout ?? ''}${result.stderr ?? ''}`.trim() || result.error?.message}`,
      );
    writeFileSync(path.join(fresh, STAMP), inputs);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

function hashInputs(root) {
  const hash = createHash('sha256');
  const files = ['src', 'test'].flatMap((folder) => listFiles(path.join(root, folder)));
  for (const file of [...files, 'tsconfig.json', 'package-lock.json'].map((name) => path.resolve(root, name)).sort()) {
    hash.update(path.relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

function listFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

function readStamp(dist) {
  try {
    return readFileSync(path.join(dist, STAMP), 'utf8');
  } catch {
    return null; // never built by this script
  }
}
