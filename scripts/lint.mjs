/**
 * `npm run lint`: the packages, then format and lint rules of biome.json. Installs no native runtime and builds
 * nothing.
 */

import { installPackages, nodeProblem } from './packages.mjs';
import { runNode } from './run-cli.mjs';
import { isMain, ROOT } from './setup.mjs';

/** @returns {Promise<number>} exit code */
export function lint() {
  // by itself it also colours a log file
  const colors = process.stdout.isTTY && process.env.NO_COLOR === undefined ? 'force' : 'off';
  return runNode(['node_modules/@biomejs/biome/bin/biome', 'ci', `--colors=${colors}`], { cwd: ROOT });
}

if (isMain(import.meta.url)) {
  const problem = nodeProblem(process.versions.node);
  if (problem !== null) {
    console.error(problem);
    process.exit(4);
  }
  installPackages(ROOT, (line) => console.error(`set-up: ${line}`));
  process.exitCode = await lint();
}
