/**
 * `npm run quickstart`: everything a fresh machine needs, then the main job on the images shipped in datasets/
 * (src/commands/quickstart.ts).
 */

import { runCli } from './run-cli.mjs';
import { setUp } from './setup.mjs';

await setUp();
process.exitCode = await runCli(['quickstart', ...process.argv.slice(2)]);
