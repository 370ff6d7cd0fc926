/**
 * What the documents name is there: files, scripts, commands with their flags, and configs with the keys that are set
 * over them.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/config/load.js';
import { gqa } from './cli-run.js';

const folders = ['.', 'docs', 'datasets', 'test/reference'];
const documents = folders.flatMap((folder) =>
  fs
    .readdirSync(folder)
    .filter((file) => file.endsWith('.md'))
    .map((file) => path.join(folder, file)),
);

/** What stands for a file of the reader's. */
const madeUp = new Set(['configs/x.yaml']);

test('paths and links lead somewhere', () => {
  const gone: string[] = [];
  for (const document of documents) {
    const text = fs.readFileSync(document, 'utf8');
    for (const [found] of text.matchAll(
      /(?<![\w/.<-])(?:src|test|docs|configs|scripts|bench|datasets|dist\/test)\/[\w./-]*\w/g,
    )) {
      const source = found.replace(/^dist\/(.*)\.js$/, '$1.ts');
      if (!madeUp.has(found) && !fs.existsSync(source)) gone.push(`${document}: ${found}`);
    }
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:)([^)#]+)/g))
      if (!fs.existsSync(path.join(path.dirname(document), target))) gone.push(`${document}: link to ${target}`);
  }
  assert.deepEqual(gone, []);
});

test('nothing outside the project is named', () => {
  for (const document of documents) assert.doesNotMatch(fs.readFileSync(document, 'utf8'), /\.\.\/shared/, document);
});

/** Words of a command as a shell splits them, up to a comment or the end of the code. */
const words = (command: string): string[] =>
  [...(command.split(/ #| &&|`| · |…/)[0] ?? '').matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) =>
    word.replaceAll(/["']/g, ''),
  );

const commands = documents.flatMap((document) =>
  [...fs.readFileSync(document, 'utf8').matchAll(/npx gqa ([a-z][^`\n]*)/g)].map(([, command = '']) => ({
    document,
    words: words(command),
  })),
);

test('configs that commands name hold what is set over them', () => {
  const tried = new Set<string>();
  for (const { document, words } of commands) {
    const file = words[words.indexOf('--config') + 1] ?? '';
    if (!words.includes('--config') || !fs.existsSync(file)) continue;
    const sets = words.filter((_, i) => words[i - 1] === '--set').filter((set) => !/VARIANT/.test(set));
    assert.doesNotThrow(() => loadConfig(file, sets), `${document}: ${words.join(' ')}`);
    tried.add(file);
  }
  assert.ok(tried.size > 5, [...tried].join());
});

test('every command and flag of the documents is one that help names', () => {
  const help = new Map<string, string>();
  for (const { document, words } of commands) {
    const [group = '', second = ''] = words;
    const name = ['data', 'config'].includes(group) ? `${group} ${second}` : group;
    if (!help.has(name)) help.set(name, gqa([...name.split(' '), '--help']).stdout);
    const flags = words.filter((word) => /^--[a-z]/.test(word));
    for (const flag of flags) assert.ok(help.get(name)?.includes(flag), `${document}: ${words.join(' ')}: ${flag}`);
    assert.match(help.get(name) ?? '', /^Usage: gqa/, `${document}: ${words.join(' ')}`);
  }
  assert.ok(commands.length > 40, String(commands.length));
});
