/** The native addons under GCC's sanitizers for addresses and for undefined behaviour. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { place, testFolder } from '../data/files.js';

interface Scripts {
  readRecord(root: string): { library: string | null } | null;
  compileAddon(root: string, library: string, name: string, target: string, env: NodeJS.ProcessEnv): string | null;
}

/** GCC's run-time library of the address sanitizer, which has to be there before Node itself; null: there is none. */
export function sanitizer(): string | null {
  const found = spawnSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout?.trim() ?? '';
  return path.isAbsolute(found) && existsSync(found) ? found : null;
}

/** Compiles an addon of set-up with both sanitizers. @returns its file */
export async function withSanitizers(t: TestContext, name: string): Promise<string> {
  const modules = await Promise.all(
    ['addons', 'native-runtime'].map((name) => import(pathToFileURL(path.resolve(`scripts/${name}.mjs`)).href)),
  );
  const { readRecord, compileAddon } = Object.assign({}, ...modules) as Scripts;
  const folder = testFolder(t);
  const flags = '-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all';
  const compiler = place(folder, 'c++', `#!/bin/sh\nexec g++ "$@" ${flags}\n`);
  assert.equal(spawnSync('chmod', ['+x', compiler]).status, 0);
  const target = path.join(folder, name);
  const library = readRecord(process.cwd())?.library ?? '';
  assert.equal(compileAddon(process.cwd(), library, name, target, { ...process.env, CXX: compiler }), null);
  return target;
}

/** Of a process that loads such an addon. */
export const sanitizedEnvironment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LD_PRELOAD: sanitizer() ?? '',
  // tfjs-node frees with delete what it made with new[]
  ASAN_OPTIONS: 'detect_leaks=0:alloc_dealloc_mismatch=0',
  TF_CPP_MIN_LOG_LEVEL: '3',
  NODE_OPTIONS: '',
});
