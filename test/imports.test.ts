/** The arrows between folders point one way; what a folder must not know is not imported there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { GROUPINGS } from '../src/convert/groupings.js';
import { MERGES } from '../src/convert/merges.js';
import { VARIANTS } from '../src/model/variants.js';

/** Which folders of src (or files beside them) a folder may import from, besides itself. */
const ALLOWED: Record<string, string[]> = {
  'counted.ts': [],
  'errors.ts': [],
  'random.ts': [],
  'version.ts': [],
  'invocation.ts': ['version.ts'],
  'protobuf.ts': [],
  files: ['errors.ts'],
  download: ['errors.ts', 'files'],
  trace: ['errors.ts', 'protobuf.ts', 'random.ts'],
  model: ['random.ts'],
  config: ['counted.ts', 'errors.ts', 'files', 'model'],
  run: ['counted.ts', 'errors.ts', 'protobuf.ts', 'version.ts', 'files', 'config'],
  native: ['errors.ts', 'invocation.ts', 'version.ts', 'config'],
  // native/images.ts, no TensorFlow.js; run/interrupt.ts says how a wait ends
  data: ['counted.ts', 'errors.ts', 'invocation.ts', 'random.ts', 'files', 'download', 'config', 'run', 'native'],
  checkpoint: ['counted.ts', 'errors.ts', 'config', 'model'],
  convert: ['errors.ts', 'random.ts', 'config', 'model', 'checkpoint'],
  train: ['counted.ts', 'errors.ts', 'random.ts', 'config', 'data', 'model', 'checkpoint', 'convert', 'run', 'trace'],
  reference: [
    'counted.ts',
    'errors.ts',
    'random.ts',
    'config',
    'data',
    'model',
    'checkpoint',
    'convert',
    'trace',
    'train',
  ],
  sweep: ['counted.ts', 'errors.ts', 'invocation.ts', 'config', 'model', 'run'],
  report: ['config', 'run', 'sweep'],
  commands: [
    'counted.ts',
    'errors.ts',
    'invocation.ts',
    'random.ts',
    'version.ts',
    'files',
    'download',
    'config',
    'data',
    'model',
    'checkpoint',
    'convert',
    'native',
    'reference',
    'report',
    'run',
    'sweep',
    'trace',
    'train',
  ],
  cli: ['errors.ts', 'invocation.ts', 'config', 'run', 'commands'],
  'cli.ts': ['errors.ts', 'invocation.ts', 'version.ts', 'files', 'config', 'run', 'cli', 'commands'],
};

/** The same within data: `open` joins a format to what the rest takes, and knows no pipeline. */
const ALLOWED_IN_DATA: Record<string, string[]> = {
  'dataset.ts': [],
  'files.ts': [],
  'reading.ts': [],
  'subset.ts': [],
  'usable.ts': ['dataset.ts'],
  'fingerprint.ts': ['dataset.ts'],
  formats: ['dataset.ts', 'files.ts'],
  images: ['dataset.ts', 'files.ts', 'reading.ts'],
  sets: ['dataset.ts', 'formats'],
  'sets.ts': ['sets'],
  'common-size.ts': ['dataset.ts', 'reading.ts', 'images'],
  'open.ts': ['dataset.ts', 'reading.ts', 'common-size.ts', 'formats', 'sets', 'sets.ts'],
  'take.ts': ['dataset.ts', 'common-size.ts', 'subset.ts'],
  pipeline: ['dataset.ts', 'reading.ts', 'images'],
  fetch: ['formats', 'sets'],
  inspect: ['dataset.ts', 'reading.ts', 'images', 'pipeline', 'sets'],
};

/** Packages that only some folders may import; the others never touch them. */
const PACKAGES: Record<string, string[]> = {
  '@tensorflow/': ['native', 'trace', 'model', 'train', 'reference', 'commands'],
  sharp: ['data', 'report'],
  'cli-progress': ['run'],
  commander: ['cli.ts', 'cli'],
  'tar-stream': ['data'],
  yauzl: ['data'],
  yaml: ['config'],
  'ml-matrix': ['convert'],
  vega: ['report'],
  'vega-lite': ['report'],
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

test('the arrows make no circle: a folder comes before those that import it', () => {
  for (const allowed of [ALLOWED, ALLOWED_IN_DATA]) {
    const seen = new Set<string>();
    for (const [folder, from] of Object.entries(allowed)) {
      assert.deepEqual(
        from.filter((other) => !seen.has(other)),
        [],
        `${folder} imports what comes after it`,
      );
      seen.add(folder);
    }
  }
});

/** Nothing else may write below runs/; what is written elsewhere is named by the user. */
const WRITES = /\b(?:writeFileAtomic|writeFileSync|appendFileSync|mkdirSync|makeFolder|renameSync|openSync)\(/;
const WRITERS: Record<string, string> = {
  'cli.ts': 'opens the terminal again',
  'commands/analyze.ts': '--out',
  'commands/config.ts': '--out',
  'commands/convert.ts': '--out',
  'commands/data.ts': '--report and --overview',
  'commands/data-preview.ts': '--out',
  'commands/eval.ts': '--logits',
  'commands/export.ts': '--out',
  'commands/report.ts': '--out',
  'trace/session.ts': 'a temporary folder',
  'trace/temporary.ts': 'a temporary folder',
  'checkpoint/safetensors.ts': 'opens for reading',
  'checkpoint/foreign.ts': 'opens for reading',
};

test('run/ alone writes below runs/', () => {
  const writing = files.filter(
    (file) =>
      !['run', 'files', 'download', 'data', 'native'].includes(placeOf(file)) &&
      WRITES.test(fs.readFileSync(path.join('src', file), 'utf8')) &&
      WRITERS[file] === undefined,
  );
  assert.deepEqual(writing, []);
});

test('no file is above 300 lines', () => {
  const long = files.filter((file) => fs.readFileSync(path.join('src', file), 'utf8').split('\n').length > 301);
  assert.deepEqual(long, []);
});

test('no variant is known by its name outside the table', () => {
  // the model before conversion and after it; and names of merges and groupings that a variant stands for
  const others = ['mha', 'gqa', ...Object.keys(MERGES), ...Object.keys(GROUPINGS)];
  const names = Object.keys(VARIANTS).filter((name) => !others.includes(name));
  const quoted = new RegExp(`'(?:${names.join('|')})'`);
  const knowing = files.filter((file) => {
    const text = fs.readFileSync(path.join('src', file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    return quoted.test(text);
  });
  // the paper's own words for them, and what the quickstart compares
  assert.deepEqual(knowing.sort(), [
    'commands/quickstart.ts',
    'config/paper.ts',
    'model/variants.ts',
    'reference/attention.ts',
    'reference/neighbours/wgqa.ts',
  ]);
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
    (file) => !['commands', 'cli', 'cli.ts'].includes(placeOf(file)) && file !== 'run/progress.ts',
  );
  assert.deepEqual(elsewhere, []);
});
