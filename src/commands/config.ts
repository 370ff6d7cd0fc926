/** `gqa config schema | show`: what a config may hold, and what one comes to. */
import { configSchemaText } from '../config/json-schema.js';
import { readConfig } from '../config/load.js';
import { byDottedKey } from '../config/resolve.js';

export async function configSchemaCommand(): Promise<void> {
  process.stdout.write(configSchemaText());
}

/** Every key with its value, and where that comes from: file:line:column, a flag, or the default. */
export async function configShow({ file, set, json }: { file: string; set: string[]; json: boolean }): Promise<void> {
  const { config, given } = readConfig(file, set);
  const rows = [...byDottedKey(config)];
  const from = (key: string): string =>
    given.get(key)?.at.replace(/:$/, '') ?? (key === 'name' ? 'file name' : 'default');
  if (json) {
    process.stdout.write(
      `${JSON.stringify(Object.fromEntries(rows.map(([key, value]) => [key, { value, from: from(key) }])))}\n`,
    );
    return;
  }
  const lines = rows.map(([key, value]) => ({
    text: `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    from: from(key),
  }));
  const width = Math.min(60, Math.max(...lines.map(({ text }) => text.length)));
  process.stdout.write(`${lines.map(({ text, from }) => `${text.padEnd(width)}  # ${from}`).join('\n')}\n`);
}
