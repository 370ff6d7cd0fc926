/** `npm run reference -- DIR`: set-up, then the comparison with the numbers in DIR (src/commands/reference.ts). */

import path from 'node:path';
import { runCli } from './run-cli.mjs';
import { setUp } from './setup.mjs';

await setUp();
// npm starts scripts in the package's folder; a relative DIR is meant from where the user stands.
const from = process.env.INIT_CWD ?? process.cwd();
const isPath = (arg, i, args) => !arg.startsWith('-') && args[i - 1] !== '--device';
process.exitCode = await runCli([
  'reference',
  ...process.argv.slice(2).map((arg, i, args) => (isPath(arg, i, args) ? path.resolve(from, arg) : arg)),
]);
