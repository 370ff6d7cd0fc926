/** The version of this program, read from package.json: the one place that has it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of package.json: two above dist/src. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url));

export function gqaVersion(): string {
  return (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version;
}
