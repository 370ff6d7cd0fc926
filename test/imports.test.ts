/** The arrows between folders point one way; what a folder must not know is not imported there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

/** Which folders of src (or files beside them) a folder may import from, besides itself. */
const ALLOWED: Record<string, string[]> = {
  'counted.ts': [],
  'errors.ts': [],
  'invocation.ts': ['version.ts'],
  'random.ts': [],
  'version.ts': [],
  config: ['counted.ts', 'errors.ts', 'run'], // run/atomic.ts says in words why a file could not be read
  run: ['counted.ts', 'errors.ts', 'version.ts', 'config'],
  native: ['errors.ts', 'invocation.ts', 'version.ts', 'config'],
  // run/atomic.ts says in words why a file could not be written; native/images.ts, no TensorFlow.js
  data: ['counted.ts', 'errors.ts', 'invocation.ts', 'random.ts', 'config', 'run', 'native'],
  trace: ['errors.ts'],
  model: ['random.ts', 'config'],
  checkpoint: ['counted.ts', 'errors.ts', 'config', 'model'],
  train: ['counted.ts', 'errors.ts', 'random.ts', 'config', 'data', 'model', 'checkpoint', 'run', 'trace'],
  reference: ['counted.ts', 'errors.ts', 'config', 'data', 'model', 'checkpoint', 'trace', 'train'],
  sweep: ['counted.ts', 'errors.ts', 'config', 'run'],
  commands: [
    'counted.ts',
    'errors.ts',
    'invocation.ts',
    'random.ts',
    'version.ts',
    'config',
    'data',
    'model',
    'checkpoint',
    'native',
    'reference',
    'run',
    'sweep',
    'trace',
    'train',
  ],
  'cli.ts': ['errors.ts', 'invocation.ts', 'version.ts', 'config', 'run', 'commands'],
};

/** The same within data: `open` joins a format to what the rest takes, and knows no pipeline. */
const ALLOWED_IN_DATA: Record<string, string[]> = {
  'dataset.ts': [],
  'files.ts': [],
  'reading.ts': [],
  'subset.ts': [],
  'open.ts': ['dataset.ts', 'formats'],
  'common-size.ts': ['dataset.ts', 'reading.ts', 'images'],
  'take.ts': ['dataset.ts', 'common-size.ts', 'subset.ts'],
  'usable.ts': ['dataset.ts'],
  'fingerprint.ts': ['dataset.ts'],
  formats: ['dataset.ts', 'files.ts'],
  images: ['dataset.ts', 'files.ts', 'reading.ts'],
  pipeline: ['dataset.ts', 'reading.ts', 'images'],
  fetch: ['formats'],
  inspect: ['dataset.ts', 'reading.ts', 'images', 'pipeline', 'fetch'],
};

/** Packages that only some folders may import; the others never touch them. */
const PACKAGES: Record<string, string[]> = {
  '@tensorflow/': ['native', 'trace', 'model', 'train', 'reference', 'commands'],
  sharp: ['data'],
  'cli-progress': ['run'],
  commander: ['cli.ts'],
  'tar-stream': ['data'],
  yauzl: ['data'],
  yaml: ['config'],
};

const files = fs
  .readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.split(path.sep).join('/'));

const placeOf = (file: string): string => file.split('/')[0] as string;

/** What a file imports: `run/atomic.ts` for our own, the package's name for others. */
function importsOf(file: string): string[] {
  const text = fs.readFileSync(path.join('src', file), 'utf8');
  return [...text.matchAll(/(?:from|import|require)\s*\(?\s*'([^']+)'/g)].map(([, target]) => {
    const name = target as string;
    return name.startsWith('.') ? path.posix.join(path.posix.dirname(file), name).replace(/\.js$/, '.ts') : name;
  });
}

/** Imports that `allowed` does not have, of files by the folder (or file) they lie in below `root`. */
function against(allowed: Record<string, string[]>, root: string): string[] {
  const within = (file: string): boolean => file.startsWith(root);
  const placeIn = (file: string): string => placeOf(file.slice(root.length));
  return files.filter(within).flatMap((file) => {
    const own = placeIn(file);
    assert.ok(allowed[own] !== undefined, `${file}: its folder has no line in this test`);
    return importsOf(file)
      .filter(
        (target) =>
          target.endsWith('.ts') &&
          within(target) &&
          placeIn(target) !== own &&
          !allowed[own]?.includes(placeIn(target)),
      )
      .map((target) => `${file} imports ${target}`);
  });
}

test('imports follow the order of the folders', () => {
  assert.deepEqual(against(ALLOWED, ''), []);
  assert.deepEqual(against(ALLOWED_IN_DATA, 'data/'), []);
});

test('packages are imported only where they belong', () => {
  const wrong = files.flatMap((file) =>
    importsOf(file)
      .filter((name) =>
        Object.entries(PACKAGES).some(([start, places]) => name.startsWith(start) && !places.includes(placeOf(file))),
      )
      .map((name) => `${file} imports ${name}`),
  );
  assert.deepEqual(wrong, []);
});

test('only commands and the command line print; progress goes through run/progress.ts', () => {
  const printing = files.filter((file) =>
    /process\.std(out|err)|console\./.test(fs.readFileSync(path.join('src', file), 'utf8')),
  );
  const elsewhere = printing.filter(
    (file) => !['commands', 'cli.ts'].includes(placeOf(file)) && file !== 'run/progress.ts',
  );
  assert.deepEqual(elsewhere, []);
});
