/** `npm run config-doc`: writes docs/config.md from the schema of the config. */

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildProject } from './build.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
buildProject(root, (line) => process.stderr.write(`${line}\n`));
const { configDocument } = await import(new URL('../dist/src/config/document.js', import.meta.url));
writeFileSync(path.join(root, 'docs/config.md'), configDocument());
