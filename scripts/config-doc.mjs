/** `npm run config-doc`: writes docs/config.md and configs/schema.json from the schema of the config. */

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildProject } from './build.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
buildProject(root, (line) => process.stderr.write(`${line}\n`));
const { configDocument } = await import(new URL('../dist/src/config/document.js', import.meta.url));
writeFileSync(path.join(root, 'docs/config.md'), configDocument());
const { configSchemaText } = await import(new URL('../dist/src/config/json-schema.js', import.meta.url));
writeFileSync(path.join(root, 'configs/schema.json'), configSchemaText());
