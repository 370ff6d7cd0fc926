/**
 * Unpacking archives of strangers: what is refused leaves nothing outside the folder, whatever the library beneath
 * does.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type ArchiveKind, type Limits, unpack } from '../../../src/data/fetch/archive.js';
import { failure, place, testFolder } from '../files.js';
import { type Packed, tarGz, zip } from './archives.js';

const LIMITS: Limits = { bytes: 10_000_000, files: 100, ratio: 1000 };

async function tryUnpack(t: TestContext, kind: ArchiveKind, bytes: Uint8Array, limits: Limits = LIMITS) {
  const outer = testFolder(t);
  const archive = place(outer, `archive.${kind}`, bytes);
  const into = join(outer, 'in', 'to');
  const unpacked = unpack(archive, kind, into, limits, { progress() {} });
  return { outer, into, archive, unpacked };
}

const packers: [ArchiveKind, (entries: readonly Packed[]) => Buffer | Promise<Buffer>][] = [
  ['tar.gz', tarGz],
  ['zip', zip],
];

for (const [kind, packed] of packers) {
  test(`${kind}: files and folders come out as they went in, with counts and progress`, async (t) => {
    const large = Buffer.alloc(300_000, 'abcdefg');
    const archive = await packed([
      { name: 'set/', type: 'directory', mode: 0o040755 },
      { name: './set/a/b.txt', bytes: 'hello' },
      { name: 'set/large.bin', bytes: large },
      { name: 'set/empty', bytes: '' },
      { name: 'set/größe.txt', bytes: 'x' },
    ]);
    const outer = testFolder(t);
    const path = place(outer, 'archive', archive);
    const done: number[] = [];
    const total = await unpack(path, kind, join(outer, 'into'), LIMITS, { progress: (bytes) => done.push(bytes) });
    assert.deepEqual(total, { files: 4, bytes: 300_006 });
    assert.equal(readFileSync(join(outer, 'into/set/a/b.txt'), 'utf8'), 'hello');
    assert.deepEqual(readFileSync(join(outer, 'into/set/large.bin')), large);
    assert.equal(readFileSync(join(outer, 'into/set/empty')).length, 0);
    assert.equal(readFileSync(join(outer, 'into/set/größe.txt'), 'utf8'), 'x');
    assert.ok(done.length === 4 && (done.at(-1) ?? 0) <= archive.length && (done.at(-1) ?? 0) > 0);
  });

  const refusals: [what: string, entries: Packed[], words: string[]][] = [
    ['a path that leads out', [{ name: '../../evil.txt', bytes: 'x' }], ['../../evil.txt']],
    ['a path that leads out by a detour', [{ name: 'set/../../../evil.txt', bytes: 'x' }], ['set/../../../evil.txt']],
    ['an absolute path', [{ name: '/evil.txt', bytes: 'x' }], ['/evil.txt']],
    ['a drive letter', [{ name: 'C:/evil.txt', bytes: 'x' }], ['C:/evil.txt']],
    ['a backslash', [{ name: 'set\\..\\..\\evil.txt', bytes: 'x' }], ['evil.txt']],
    ['a control character', [{ name: 'set/e\u0007vil.txt', bytes: 'x' }], ['control character']],
    [
      'the same file twice',
      [
        { name: 'set/evil.txt', bytes: 'x' },
        { name: 'set//./evil.txt', bytes: 'y' },
      ],
      ['is there twice'],
    ],
    [
      'names that differ in case only',
      [{ name: 'set/evil.txt' }, { name: 'Set/other.txt' }],
      ['Set/other.txt', '"set"', 'case'],
    ],
    ['names that differ in composition only', [{ name: 'é.txt' }, { name: 'e\u0301.txt' }], ['composed']],
    ['a file where a folder is', [{ name: 'set/evil.txt' }, { name: 'set', bytes: 'x' }], ['a file and a folder']],
    ['a folder where a file is', [{ name: 'set', bytes: 'x' }, { name: 'set/evil.txt' }], ['a file and a folder']],
    [
      'a symbolic link',
      [{ name: 'set/evil.txt', type: 'symlink', linkname: '/etc/passwd', mode: 0o120777 }],
      ['symlink'],
    ],
    ['more files than expected', Array.from({ length: 101 }, (_, i) => ({ name: `${i}` })), ['number 101', '100']],
  ];
  for (const [what, entries, words] of refusals) {
    test(`${kind}: ${what} is refused, and nothing lies outside`, async (t) => {
      const { outer, into, archive, unpacked } = await tryUnpack(t, kind, await packed(entries));
      await assert.rejects(unpacked, failure('data', archive, ...words));
      assert.deepEqual(readdirSync(outer).sort(), [`archive.${kind}`, 'in']);
      assert.deepEqual(readdirSync(join(outer, 'in')), ['to']);
      const left = readdirSync(into, { recursive: true, withFileTypes: true });
      assert.ok(left.every((entry) => entry.isFile() || entry.isDirectory()));
    });
  }

  test(`${kind}: a bomb is refused by ratio and by size before it fills the disk`, async (t) => {
    const bomb = await packed([{ name: 'zeros', bytes: Buffer.alloc(5_000_000) }]);
    const byRatio = await tryUnpack(t, kind, bomb, { ...LIMITS, ratio: 10 });
    await assert.rejects(byRatio.unpacked, failure('data', 'zeros', '5000000', 'at most 1000000'));
    assert.ok(!existsSync(join(byRatio.into, 'zeros')));
    const bySize = await tryUnpack(t, kind, bomb, { bytes: 4_999_999, files: 1, ratio: 10_000 });
    await assert.rejects(bySize.unpacked, failure('data', 'zeros', 'at most 4999999'));
  });

  test(`${kind}: an archive that is cut or damaged is said to be so`, async (t) => {
    const whole = await packed([
      { name: 'a', bytes: Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i * 31) & 255)) },
    ]);
    for (const bytes of [
      whole.subarray(0, whole.length - 40),
      whole.subarray(0, 20),
      Buffer.from('no archive at all'),
    ]) {
      const { archive, unpacked } = await tryUnpack(t, kind, bytes);
      await assert.rejects(unpacked, failure('data', archive, 'damaged'));
    }
  });

  test(`${kind}: the signal stops it`, async (t) => {
    const outer = testFolder(t);
    const archive = place(outer, 'archive', await packed([{ name: 'a' }, { name: 'b' }, { name: 'c' }]));
    const controller = new AbortController();
    const progress = (): void => controller.abort('enough');
    await assert.rejects(
      unpack(archive, kind, join(outer, 'into'), LIMITS, { progress, signal: controller.signal }),
      (error) => error === 'enough',
    );
    assert.deepEqual(readdirSync(join(outer, 'into')), ['a']);
  });
}

const tarKinds: [Packed['type'] & string, string?][] = [
  ['link', 'set/other'],
  ['character-device'],
  ['block-device'],
  ['fifo'],
];
for (const [type, linkname] of tarKinds) {
  test(`tar.gz: a ${type} is refused`, async (t) => {
    const entries: Packed[] = [{ name: 'set/evil', type, ...(linkname === undefined ? {} : { linkname }) }];
    const { into, unpacked } = await tryUnpack(t, 'tar.gz', await tarGz(entries));
    await assert.rejects(unpacked, failure('data', 'set/evil', type));
    assert.ok(!existsSync(join(into, 'set/evil')));
  });
}

test('a tar that ends within a file is damaged, though its gzip is whole', async (t) => {
  const { gunzipSync } = await import('node:zlib');
  const tar = gunzipSync(await tarGz([{ name: 'a', bytes: Buffer.alloc(5000, 7) }]));
  const { unpacked } = await tryUnpack(t, 'tar.gz', gzipSync(tar.subarray(0, 2000)));
  await assert.rejects(unpacked, failure('data', 'damaged'));
});

test('what is there is not overwritten, and a link is not followed', async (t) => {
  const outer = testFolder(t);
  place(outer, 'into/a', 'mine');
  const archive = place(outer, 'archive', await tarGz([{ name: 'a', bytes: 'theirs' }]));
  await assert.rejects(
    unpack(archive, 'tar.gz', join(outer, 'into'), LIMITS, { progress() {} }),
    failure('io', join(outer, 'into/a')),
  );
  assert.equal(readFileSync(join(outer, 'into/a'), 'utf8'), 'mine');
});
