/**
 * Fetching from a local server that has the faults of real ones, with data sets that the tests make: the same code with
 * another line of the catalogue.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Fetched, type FetchOptions, fetchDataset } from '../../../src/data/fetch/fetch.js';
import type { CatalogueEntry, Download } from '../../../src/data/sets/published.js';
import { catalogue } from '../../../src/data/sets.js';
import { redirected } from '../../../src/download/download.js';
import { failure, place, testFolder } from '../files.js';
import { md5, type Packed, sha256, tarGz, zip } from './archives.js';
import { type Faults, type Served, serveFolder } from './serve.js';

/** Bytes that do not shrink when packed, so that a small archive has somewhere to be cut. */
const noise = (length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  for (let at = 0, state = 1; at < length; at++) {
    state = (state * 48271) % 2147483647;
    bytes[at] = state & 255;
  }
  return bytes;
};

const CONTENT = { 'small-set/a.bin': noise(100_000), 'small-set/names.txt': Buffer.from('one\ntwo\n') };
const ARCHIVE = await tarGz(Object.entries(CONTENT).map(([name, bytes]) => ({ name, bytes })));

const entryFor = (downloads: Download[], more: Partial<CatalogueEntry> = {}): CatalogueEntry => ({
  title: 'Small set',
  page: 'http://example.invalid/',
  terms: 'none',
  source: 'this test',
  downloads,
  folder: 'small-set',
  wrapped: true,
  holds: ['a.bin', 'names.txt'],
  unpacked: { bytes: 100_008, files: 2 },
  classes: 2,
  images: { train: 1, test: 1 },
  perClass: null,
  ...more,
});

const downloadOf = (url: string, file: string, bytes: Uint8Array, unpack: Download['unpack'] = 'tar.gz'): Download => ({
  url: `${url}/${file}`,
  file,
  bytes: bytes.length,
  sha256: sha256(bytes),
  md5: md5(bytes),
  unpack,
});

interface Scene {
  root: string;
  served: Served;
  entry: CatalogueEntry;
  notices: string[];
  /** Where the download grows. */
  part: string;
  fetch(options?: Partial<FetchOptions>, signal?: AbortSignal): Promise<Fetched>;
  /** Is called with every notice. */
  onNotice: (line: string) => void;
}

/** A server with `small.tar.gz`, and an empty root. */
async function scene(
  t: TestContext,
  given: { faults?: Faults; archive?: Buffer; served?: Buffer } = {},
): Promise<Scene> {
  const { faults = {}, archive = ARCHIVE, served: what = archive } = given;
  const folder = testFolder(t);
  place(folder, 'www/small.tar.gz', what);
  const served = await serveFolder(t, join(folder, 'www'), faults);
  const root = join(folder, 'root');
  const entry = entryFor([downloadOf(served.url, 'small.tar.gz', archive)]);
  const notices: string[] = [];
  const made: Scene = {
    root,
    served,
    entry,
    notices,
    part: join(root, '.small.fetch', 'small.tar.gz.part'),
    onNotice: () => {},
    fetch: (options = {}, signal) =>
      fetchDataset(
        'small',
        entry,
        { root, offline: false, patient: { stallMs: 300, delaysMs: [1, 1, 1] }, ...options },
        {
          progress: () => ({ update() {}, stop() {} }),
          notice: (line) => {
            notices.push(line);
            made.onNotice(line);
          },
          ...(signal === undefined ? {} : { signal }),
        },
      ),
  };
  return made;
}

/** Everything below a folder, links and hidden files included. */
const below = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort() : [];

function assertInstalled({ root }: Scene): void {
  assert.deepEqual(below(root), ['small-set', ...Object.keys(CONTENT).sort()]);
  for (const [name, bytes] of Object.entries(CONTENT)) assert.ok(readFileSync(join(root, name)).equals(bytes), name);
}

test('a data set is downloaded, checked, unpacked and put in its place; a second call does nothing', async (t) => {
  const set = await scene(t);
  assert.deepEqual(await set.fetch(), { state: 'installed', folder: join(set.root, 'small-set') });
  assertInstalled(set);
  assert.equal(set.served.requests.length, 1);
  assert.deepEqual(await set.fetch(), { state: 'present', folder: join(set.root, 'small-set') });
  assert.equal(set.served.requests.length, 1);
});

test('a connection that is cut goes on at the byte where it was cut, and only with the same file', async (t) => {
  const set = await scene(t, { faults: { cutAfter: 30_000 } });
  await set.fetch();
  assertInstalled(set);
  const tries = Math.ceil(ARCHIVE.length / 30_000);
  assert.deepEqual(
    set.served.requests.map(({ range }) => range),
    [undefined, ...Array.from({ length: tries - 1 }, (_, i) => `bytes=${30_000 * (i + 1)}-`)],
  );
  assert.ok(set.served.requests.slice(1).every(({ ifRange }) => ifRange === `"${md5(ARCHIVE)}"`));
  assert.match(set.notices[0] ?? '', /cut.*30000 of \d+ bytes are there, trying again/);
});

test('a server without ranges is asked for the whole file again', async (t) => {
  const set = await scene(t, { faults: { cutAfter: 30_000, noRange: true } });
  set.onNotice = () => {
    set.served.faults.cutAfter = undefined;
  };
  await set.fetch();
  assertInstalled(set);
  assert.ok(set.notices.some((line) => line.includes('sends the file from its beginning')));
});

test('a server that never gets to the end is given up, and what came is kept', async (t) => {
  const set = await scene(t, { faults: { cutAfter: 30_000, noRange: true } });
  await assert.rejects(set.fetch(), failure('environment', 'given up after 4 tries', '30000 of', set.part));
  assert.equal(statSync(set.part).size, 30_000);
  assert.ok(!existsSync(join(set.root, 'small-set')));
});

test('a file that has changed on the server meanwhile is taken from its beginning', async (t) => {
  const set = await scene(t);
  place(join(set.root, '.small.fetch'), 'small.tar.gz.part', Buffer.concat([ARCHIVE.subarray(0, 10), noise(20_000)]));
  writeFileSync(
    `${set.part}.json`,
    JSON.stringify({ url: `${set.served.url}/small.tar.gz`, validator: '"of an older file"' }),
  );
  await set.fetch();
  assertInstalled(set);
  assert.deepEqual(set.served.requests, [
    { path: '/small.tar.gz', range: 'bytes=20010-', ifRange: '"of an older file"' },
  ]);
});

test('a part of one address goes on from another: its checksum decides', async (t) => {
  const set = await scene(t);
  place(join(set.root, '.small.fetch'), 'small.tar.gz.part', ARCHIVE.subarray(0, 20_000));
  writeFileSync(
    `${set.part}.json`,
    JSON.stringify({ url: 'http://elsewhere.invalid/small.tar.gz', validator: '"theirs"' }),
  );
  await set.fetch();
  assertInstalled(set);
  assert.deepEqual(set.served.requests, [{ path: '/small.tar.gz', range: 'bytes=20000-', ifRange: undefined }]);
});

test('a part that is whole, or longer than the file, needs no second download of what is right', async (t) => {
  const whole = await scene(t);
  place(join(whole.root, '.small.fetch'), 'small.tar.gz.part', ARCHIVE);
  await whole.fetch();
  assertInstalled(whole);
  assert.equal(whole.served.requests.length, 0);
  const longer = await scene(t);
  place(join(longer.root, '.small.fetch'), 'small.tar.gz.part', Buffer.concat([ARCHIVE, ARCHIVE]));
  await longer.fetch();
  assertInstalled(longer);
  assert.deepEqual(
    longer.served.requests.map(({ range }) => range),
    [undefined],
  );
});

test('another checksum: exit 3 with both, and nothing stays', async (t) => {
  const other = Buffer.from(ARCHIVE);
  other[50_000]! ^= 1;
  const set = await scene(t, { served: other });
  await assert.rejects(set.fetch(), failure('data', sha256(other), sha256(ARCHIVE), 'SHA-256'.replace('-', '')));
  assert.deepEqual(below(set.root), []);
});

test('MD5 decides where nothing else is published', async (t) => {
  const set = await scene(t);
  const [only] = set.entry.downloads;
  const weak = { ...set.entry, downloads: [{ ...only!, sha256: null }] };
  const fetch = (entry: CatalogueEntry) =>
    fetchDataset(
      'small',
      entry,
      { root: set.root, offline: false },
      { progress: () => ({ update() {}, stop() {} }), notice() {} },
    );
  await assert.rejects(
    fetch({ ...weak, downloads: [{ ...only!, sha256: null, md5: '0'.repeat(32) }] }),
    failure('data', 'MD5', md5(ARCHIVE), '0000'),
  );
  await fetch(weak);
  assertInstalled(set);
});

const impostors: [what: string, bytes: Buffer | string, words: string[]][] = [
  [
    'a log-in page',
    '<!DOCTYPE html><html><head><title>Sign in to the campus network</title></head><body></body></html>',
    ['HTML page', 'Sign in to the campus network'],
  ],
  ['an error of a store', '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', ['XML', 'AccessDenied']],
  [
    'a pointer of Git LFS',
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n',
    ['text beginning with', 'git-lfs'],
  ],
  ['a file of another kind', Buffer.from('89504e470d0a1a0a00000000', 'hex'), ['unknown kind', '89504e47']],
  ['nothing', '', ['empty']],
];
for (const [what, bytes, words] of impostors) {
  for (const noLength of [false, true]) {
    test(`${what} in place of the archive is reported by its content${noLength ? ', without a length too' : ''}`, async (t) => {
      const set = await scene(t, { served: Buffer.from(bytes as string), faults: { noLength } });
      await assert.rejects(set.fetch(), failure('data', set.served.url, 'expected a gzip file', ...words));
      assert.deepEqual(below(set.root), []);
    });
  }
}

test('a file of another size is refused before it is downloaded', async (t) => {
  const longer = Buffer.concat([ARCHIVE, noise(1_000_000)]);
  const set = await scene(t, { served: longer });
  await assert.rejects(set.fetch(), failure('data', String(longer.length), String(ARCHIVE.length)));
  assert.deepEqual(below(set.root), []);
  const unsaid = await scene(t, { served: longer, faults: { noLength: true } });
  await assert.rejects(unsaid.fetch(), failure('data', `more than ${ARCHIVE.length}`));
  assert.ok(!existsSync(join(unsaid.root, 'small-set')));
});

test('statuses are named with the address: 404 and 403 at once, 500, 429 and 408 after further tries', async (t) => {
  for (const status of [403, 404, 410]) {
    const set = await scene(t, { faults: { fail: { status, times: 9 } } });
    await assert.rejects(set.fetch(), failure('environment', `${set.served.url}/small.tar.gz`, String(status)));
    assert.equal(set.served.requests.length, 1);
    assert.deepEqual(below(set.root), []);
  }
  for (const status of [500, 503, 429, 408]) {
    const set = await scene(t, { faults: { fail: { status, times: 2, headers: { 'retry-after': '0' } } } });
    await set.fetch();
    assertInstalled(set);
    assert.equal(set.served.requests.length, 3);
    assert.match(set.notices[0] ?? '', new RegExp(`answered ${status}`));
  }
  const never = await scene(t, { faults: { fail: { status: 502, times: 99 } } });
  await assert.rejects(never.fetch(), failure('environment', 'given up after 4 tries', '502'));
});

test('redirects are followed, but not in circles, and not from https to less', async (t) => {
  const set = await scene(t);
  const detour = await serveFolder(t, set.root, { redirect: set.served.url });
  await set.fetch({ mirror: detour.url });
  assertInstalled(set);
  const circle = await scene(t, { faults: { redirect: '' } });
  await assert.rejects(circle.fetch(), failure('environment', 'more than 5 redirects'));
  assert.equal(redirected(new URL('http://a/b'), '//c/d', '').href, 'http://c/d');
  assert.equal(redirected(new URL('https://a/b'), '/d', '').href, 'https://a/d');
  assert.throws(
    () => redirected(new URL('https://a/b'), 'http://a/b', ''),
    failure('environment', 'from https to http is refused'),
  );
});

test('a server that falls silent counts as cut', async (t) => {
  const set = await scene(t, { faults: { stallAfter: 40_000 } });
  await set.fetch();
  assertInstalled(set);
  assert.deepEqual(
    set.served.requests.map(({ range }) => range),
    [undefined, 'bytes=40000-', 'bytes=80000-'].slice(0, set.served.requests.length),
  );
  assert.match(set.notices[0] ?? '', /0\.3 s/);
});

test('an archive that is labelled as packed is kept as it lies on the server', async (t) => {
  const set = await scene(t, {
    faults: { headers: { 'content-encoding': 'gzip', 'content-type': 'application/x-tar' } },
  });
  await set.fetch();
  assertInstalled(set);
});

test('no host, or nobody at home: exit 4 with the host and what else can be done', async (t) => {
  const set = await scene(t);
  const gone = await serveFolder(t, set.root);
  await (gone as Served & { close(): Promise<void> }).close();
  const { host } = new URL(gone.url);
  await assert.rejects(set.fetch({ mirror: gone.url }), (error: Error & { hint?: string }) => {
    assert.match(error.hint ?? '', /--mirror.*--offline/);
    return failure('environment', host, 'cannot be reached')(error);
  });
  await assert.rejects(
    set.fetch({ mirror: 'http://no-such-host.invalid/' }),
    failure('environment', 'no-such-host.invalid'),
  );
  await assert.rejects(set.fetch({ mirror: 'ftp://host/x' }), failure('usage', '--mirror', 'ftp://host/x'));
  assert.deepEqual(below(set.root), []);
});

test('a mirror is a folder, or for one file the file itself', async (t) => {
  const set = await scene(t);
  for (const mirror of [`${set.served.url}/`, `${set.served.url}/small.tar.gz`]) {
    const root = join(set.root, mirror.length.toString());
    await set.fetch({ mirror, root });
    assert.ok(existsSync(join(root, 'small-set/a.bin')));
  }
  assert.deepEqual(
    set.served.requests.map(({ path }) => path),
    ['/small.tar.gz', '/small.tar.gz'],
  );
});

test('too little space: exit 5 before the first byte', async (t) => {
  const set = await scene(t);
  await assert.rejects(
    set.fetch({ freeBytes: () => 150_000 }),
    failure('io', set.root, '0.1 MB are free', '0.2 MB are needed'),
  );
  assert.equal(set.served.requests.length, 0);
  assert.deepEqual(below(set.root), []);
});

test('a disk that is full meanwhile: exit 5, nothing installed', {
  skip: existsSync('/dev/full') ? false : '/dev/full is not there',
}, async (t) => {
  const set = await scene(t);
  mkdirSync(join(set.root, '.small.fetch'), { recursive: true });
  symlinkSync('/dev/full', set.part);
  await assert.rejects(set.fetch(), failure('io', set.part, 'the disk is full'));
  assert.ok(!existsSync(join(set.root, 'small-set')));
});

test('a root that cannot be made: exit 5', async (t) => {
  const set = await scene(t);
  const file = place(set.root, 'file', '');
  await assert.rejects(set.fetch({ root: join(file, 'root') }), failure('io', 'a part of the path is a file'));
});

test('stopped while downloading: what came is kept, and the next call goes on from there', async (t) => {
  const set = await scene(t, { faults: { stallAfter: 40_000 } });
  const controller = new AbortController();
  const running = set.fetch({ patient: { stallMs: 10_000, delaysMs: [] } }, controller.signal);
  while (!existsSync(set.part) || statSync(set.part).size < 40_000)
    await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort('SIGTERM');
  await assert.rejects(running, failure('sigterm', 'stopped', '.small.fetch'));
  assert.deepEqual(below(set.root), [
    '.small.fetch',
    '.small.fetch/small.tar.gz.part',
    '.small.fetch/small.tar.gz.part.json',
  ]);
  set.served.faults.stallAfter = undefined;
  await set.fetch();
  assertInstalled(set);
  assert.equal(set.served.requests.at(-1)?.range, 'bytes=40000-');
});

const hostile: [what: string, entries: Packed[], words: string[]][] = [
  ['leads out', [{ name: 'small-set/a.bin' }, { name: '../../../evil.txt', bytes: 'x' }], ['leads out']],
  [
    'holds a link',
    [{ name: 'small-set', type: 'symlink', linkname: '/tmp' }, { name: 'small-set/a.bin' }],
    ['symlink'],
  ],
  ['is a bomb', [{ name: 'small-set/a.bin', bytes: Buffer.alloc(1_000_001) }], ['1000001']],
  ['lacks a file', [{ name: 'small-set/a.bin' }], ['names.txt']],
];
for (const [what, entries, words] of hostile) {
  test(`an archive with the right checksum that ${what}: exit 3, nothing outside, nothing half-installed`, async (t) => {
    const set = await scene(t, { archive: await tarGz(entries) });
    await assert.rejects(set.fetch(), failure('data', ...words));
    assert.deepEqual(below(set.root), [
      '.small.fetch',
      '.small.fetch/small.tar.gz.part',
      '.small.fetch/small.tar.gz.part.json',
    ]);
    assert.deepEqual(readdirSync(join(set.root, '..')).sort(), ['root', 'www']);
  });
}

test('a folder that holds only a part is not touched', async (t) => {
  const set = await scene(t);
  place(set.root, 'small-set/a.bin', 'mine');
  await assert.rejects(set.fetch(), failure('data', join(set.root, 'small-set'), 'names.txt'));
  assert.equal(set.served.requests.length, 0);
  assert.deepEqual(below(set.root), ['small-set', 'small-set/a.bin']);
});

test('offline: tells what is needed; what is placed by hand is checked, unpacked and left where it is', async (t) => {
  const set = await scene(t);
  const placed = join(set.root, 'small.tar.gz');
  const [{ url, bytes, md5: weak, sha256: strong } = assert.fail()] = set.entry.downloads;
  const needed = await set.fetch({ offline: true });
  assert.deepEqual(needed, {
    state: 'needed',
    folder: join(set.root, 'small-set'),
    files: [{ url, place: placed, bytes, sha256: strong, md5: weak }],
  });
  assert.ok(!existsSync(set.root));

  place(set.root, 'small.tar.gz', ARCHIVE.subarray(1));
  await assert.rejects(set.fetch({ offline: true }), failure('data', placed, String(ARCHIVE.length)));
  const other = Buffer.from(ARCHIVE);
  other[50_000]! ^= 1;
  place(set.root, 'small.tar.gz', other);
  await assert.rejects(set.fetch(), failure('data', placed, sha256(other), sha256(ARCHIVE)));
  assert.deepEqual(below(set.root), ['small.tar.gz']);

  place(set.root, 'small.tar.gz', ARCHIVE);
  assert.equal((await set.fetch({ offline: true })).state, 'installed');
  assert.deepEqual(below(set.root), ['small-set', ...Object.keys(CONTENT).sort(), 'small.tar.gz']);
  assert.equal(set.served.requests.length, 0);
});

test('two calls at once: the second is refused; the lock of a process that is gone is not', async (t) => {
  const set = await scene(t);
  const lock = place(set.root, '.small.fetch/lock', String(process.ppid));
  await assert.rejects(set.fetch(), failure('io', `process ${process.ppid}`));
  assert.ok(existsSync(lock));
  writeFileSync(lock, '4194305'); // above any process id of Linux
  await set.fetch();
  assertInstalled(set);
});

test('files that stay packed become the folder together; archives without a folder of their own go into it', async (t) => {
  const folder = testFolder(t);
  const files = { 'a.gz': Buffer.from('1f8b0011', 'hex'), 'b.gz': Buffer.from('1f8b0022', 'hex') };
  const zipped = zip([{ name: 'images/1.txt', bytes: 'x' }]);
  const lists = await tarGz([{ name: 'lists/1.txt', bytes: 'y' }]);
  for (const [name, bytes] of Object.entries({ ...files, 'p.zip': zipped, 'l.tar.gz': lists }))
    place(folder, `www/${name}`, bytes);
  const { url } = await serveFolder(t, join(folder, 'www'));
  const root = join(folder, 'root');
  const fetch = (name: string, entry: CatalogueEntry) =>
    fetchDataset(name, entry, { root, offline: false }, { progress: () => ({ update() {}, stop() {} }), notice() {} });
  const kept = Object.entries(files).map(([name, bytes]) => downloadOf(url, name, bytes, null));
  await fetch('kept', entryFor(kept, { folder: 'kept', holds: ['a.gz', 'b.gz'] }));
  const both = [downloadOf(url, 'p.zip', zipped, 'zip'), downloadOf(url, 'l.tar.gz', lists)];
  await fetch('both', entryFor(both, { folder: 'both', wrapped: false, holds: ['images/1.txt', 'lists/1.txt'] }));
  assert.deepEqual(
    below(root).filter((name) => statSync(join(root, name)).isFile()),
    ['both/images/1.txt', 'both/lists/1.txt', 'kept/a.gz', 'kept/b.gz'],
  );
});

test('the catalogue: checksums have their lengths, totals agree with the counts of the classes, names are folders below root', () => {
  for (const [name, entry] of Object.entries(catalogue)) {
    for (const { url, file, bytes, sha256: strong, md5: weak } of entry.downloads) {
      assert.ok(url.endsWith(`/${file}`) && bytes > 0, url);
      assert.match(weak, /^[0-9a-f]{32}$/, url);
      if (strong !== null) assert.match(strong, /^[0-9a-f]{64}$/, url);
    }
    for (const split of ['train', 'test'] as const) {
      const perClass = entry.perClass?.[split];
      const total =
        typeof perClass === 'number' ? perClass * entry.classes : perClass?.reduce((sum, count) => sum + count, 0);
      assert.equal(total ?? entry.images[split], entry.images[split], `${name} ${split}`);
      if (typeof perClass === 'object') assert.equal(perClass.length, entry.classes);
    }
    assert.ok(!relative('/root', join('/root', entry.folder)).includes('..'));
  }
});
