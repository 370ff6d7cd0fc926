#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '');
const cli = new URL('../dist/src/cli.js', import.meta.url);

/** Exit code 4, as in src/errors.ts, which is not built where this is needed. */
function notSetUp(what) {
  process.stderr.write(`gqa: ${what} in ${folder}\nRun there: npm run setup\n`);
  process.exitCode = 4;
}

if (existsSync(cli)) {
  try {
    await import(cli.href);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    notSetUp('the packages that it needs are not installed');
  }
} else notSetUp('the project is not built');
