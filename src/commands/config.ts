/** `gqa config init | schema | show`: one to begin with, what a config may hold, and what one comes to. */
import { existsSync } from 'node:fs';
import { configSchemaText } from '../config/json-schema.js';
import { readConfig } from '../config/load.js';
import { byDottedKey } from '../config/resolve.js';
import { type Starter, starterConfig } from '../config/starter.js';
import { GqaError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { command } from '../invocation.js';
import { sizesWhereLeftOut } from './weights.js';

export async function configSchemaCommand(): Promise<void> {
  process.stdout.write(configSchemaText());
}

/** Every key with its value, and where that comes from: file:line:column, a flag, or the default. */
export async function configShow({ file, set, json }: { file: string; set: string[]; json: boolean }): Promise<void> {
  const { config, given } = readConfig(file, set, await sizesWhereLeftOut(file, set));
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

/** Prints a config to begin with, or writes it. @throws GqaError `usage` when the file is there already */
export async function configInit({ out, ...starter }: Starter & { out?: string }): Promise<void> {
  const text = starterConfig(starter);
  if (out === undefined) {
    process.stdout.write(text);
    return;
  }
  if (existsSync(out)) throw new GqaError('usage', `${out} exists already`, { hint: 'Give another --out.' });
  writeFileAtomic(out, text);
  process.stdout.write(
    `${out}\n${command(`config show ${out}`)} shows what it comes to; ${command(`train --config ${out}`)} trains it.\n`,
  );
}
