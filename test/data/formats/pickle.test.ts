import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCifarPython } from '../../../src/data/formats/cifar-python.js';
import { NumpyArray, readPickle } from '../../../src/data/formats/pickle.js';
import { cifar10Python } from '../../../src/data/sets/cifar10.js';
import { failure, place, testFolder } from '../files.js';
import { pickled } from './pickles.js';

const read = (bytes: string | Buffer): unknown =>
  readPickle(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, 'x');

test('reads a dictionary of texts, numbers and an array of bytes, by both names of NumPy', () => {
  for (const core of ['numpy.core.multiarray', 'numpy._core.multiarray']) {
    const bytes = pickled(
      { labels: [3, 255, 256, 70_000], data: { rows: 2, columns: 3, bytes: Buffer.from('abcdef') }, name: 'x' },
      core,
    );
    const found = read(bytes);
    assert.ok(found instanceof Map);
    assert.deepEqual(found.get('labels'), [3, 255, 256, 70_000]);
    assert.equal(String(found.get('name')), 'x');
    const data = found.get('data');
    assert.ok(data instanceof NumpyArray);
    assert.deepEqual([data.shape, String(data.data)], [[2, 3], 'abcdef']);
  }
});

test('reads lists beyond 1,000 entries and more than 256 remembered texts', () => {
  const names = Array.from({ length: 2500 }, (_, i) => `${i}.png`);
  const found = read(pickled({ filenames: names }));
  assert.ok(found instanceof Map);
  assert.deepEqual(found.get('filenames').map(String), names);
});

test('a remembered value can be taken again', () => {
  assert.deepEqual(
    read('\x80\x02}q\0(U\x01aq\x01K\x07U\x01bq\x02K\x08h\x02K\x09u.'),
    new Map([
      ['a', 7],
      ['b', 9],
    ]),
  );
});

test('keeps keys apart from the names of JavaScript', () => {
  const found = read(pickled({ __proto__x: [1], constructor: [2] }));
  assert.deepEqual([...(found as Map<string, unknown>).keys()], ['__proto__x', 'constructor']);
});

const hostile: [what: string, bytes: string, ...said: string[]][] = [
  ['os.system', '\x80\x02cos\nsystem\nU\x04true\x85R.', 'os system', 'byte 2'],
  ['eval', '\x80\x02c__builtin__\neval\nU\x011\x85R.', '__builtin__ eval', 'byte 2'],
  ['another function of NumPy', '\x80\x02cnumpy\nload\nU\x01x\x85R.', 'numpy load', 'byte 2'],
  ['a call of ndarray itself', '\x80\x02cnumpy\nndarray\n)R.', 'a call of numpy ndarray', 'byte 18'],
  ['a call of a text', '\x80\x02U\x01x)R.', 'what is no name', 'byte 6'],
  ['a name as the result', '\x80\x02cnumpy\ndtype\n.', 'the name numpy dtype as a value'],
  ['a name in a list', '\x80\x02]cnumpy\ndtype\na.', 'the name numpy dtype as a value'],
  ['INST', '\x80\x02(ios\nsystem\n.', 'instruction 0x69', 'byte 3'],
  ['OBJ', '\x80\x02(o.', 'instruction 0x6f'],
  ['NEWOBJ', '\x80\x02)\x81.', 'instruction 0x81'],
  ['STACK_GLOBAL', '\x80\x02U\x02osU\x06system\x93.', 'instruction 0x93', 'byte 14'],
  ['an extension code', '\x80\x02\x82\x01.', 'instruction 0x82'],
  ['a persistent id', '\x80\x02Pabc\n.', 'instruction 0x50'],
  ['LONG1', '\x80\x02\x8a\xffxxx.', 'instruction 0x8a'],
  ['protocol 4', '\x80\x04\x95\0\0\0\0\0\0\0\0N.', 'protocol 4; expected 2', 'byte 0'],
  ['text of protocol 0', '(dp0\n.', 'no pickle of protocol 2', 'byte 0'],
  ['an empty file', '', 'no pickle'],
  ['a cut text', '\x80\x02U\x09abc', 'ends at byte 7', 'byte 2'],
  ['a text longer than the file', '\x80\x02T\xff\xff\xff\x7fabc.', 'ends at byte 11'],
  ['a text of negative length', '\x80\x02T\xff\xff\xff\xffabc.', 'ends at byte 11'],
  ['no end', '\x80\x02N', 'ends at byte 3'],
  ['bytes after the end', '\x80\x02N.x', '1 bytes after the end'],
  ['nothing on the stack', '\x80\x02.', 'without its values'],
  ['values left over', '\x80\x02NN.', 'values left over'],
  ['a mark as a value', '\x80\x02(.', 'without its values'],
  ['entries without a list', '\x80\x02N(Ne.', 'a list, but there is none'],
  ['entries without a mark', '\x80\x02]e.', 'without its mark'],
  ['a key without a value', '\x80\x02}(U\x01au.', 'a key without a value'],
  ['a number as a key', '\x80\x02}(K\x01K\x02u.', 'a key that is no text'],
  ['what was not remembered', '\x80\x02h\x05.', 'a reference to 5'],
  ['a state for a list', '\x80\x02]Nb.', 'a NumPy array, but there is none'],
  ['an array without its state', '\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.', 'a NumPy array as a value'],
];

for (const [what, bytes, ...said] of hostile) {
  test(`refuses ${what}`, () => {
    assert.throws(() => read(bytes), failure('data', 'x: ', 'at byte', ...said));
  });
}

test('refuses arrays of other types, in other order, or of another length than their shape', () => {
  const bytes = pickled({ data: { rows: 2, columns: 2, bytes: Buffer.from('abcd') } }).toString('latin1');
  assert.ok(read(bytes) instanceof Map);
  for (const [from, to, said] of [
    ['U\x02u1', 'U\x02f8', 'an array of type f8'],
    ['U\x02u1', 'U\x02O8', 'an array of type O8'],
    ['b\x89', 'b\x88', 'not in C order'],
    ['(K\x01K\x02K\x02', '(K\x01K\x02K\x03', '2 × 3 with 4 bytes'],
    ['(K\x01K\x02K\x02', '(K\x01K\x02J\xff\xff\xff\xff', 'without shape'],
  ] as const) {
    assert.ok(bytes.includes(from));
    assert.throws(() => read(bytes.replace(from, to)), failure('data', said));
  }
});

test('a file cut anywhere, or with a byte changed, is read or refused, never anything else', () => {
  const bytes = pickled({
    labels: [1, 2, 300],
    data: { rows: 1, columns: 4, bytes: Buffer.from('abcd') },
    names: ['a', 'b'],
  });
  const attempt = (changed: Buffer): void => {
    try {
      read(changed);
    } catch (error) {
      assert.ok(failure('data', 'x: ', 'at byte')(error));
    }
  };
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => read(bytes.subarray(0, length)), failure('data', 'at byte'));
  }
  for (let at = 0; at < bytes.length; at++) {
    for (let value = 0; value < 256; value++) {
      const changed = Buffer.from(bytes);
      changed[at] = value;
      attempt(changed);
    }
  }
});

const python = ['python3', 'python'].find((name) => spawnSync(name, ['-c', '']).status === 0);

test("Python's own pickle reads what these tests write", {
  skip: python === undefined && 'there is no Python',
}, (t) => {
  const path = place(testFolder(t), 'p', pickled({ labels: [3, 256, 70_000], names: ['a', 'b'], label: 'x' }));
  const script = `import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'), encoding='latin1'))`;
  const { stdout } = spawnSync(python as string, ['-c', script, path], { encoding: 'utf8' });
  assert.equal(stdout.trim(), "{'labels': [3, 256, 70000], 'names': ['a', 'b'], 'label': 'x'}");
});

const small = { ...cifar10Python, recordsPerFile: { train: 1, test: 2 } };

function placeSmall(folder: string): void {
  const names = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
  place(folder, 'batches.meta', pickled({ label_names: names }));
  const data = (rows: number) => ({ rows, columns: 3072, bytes: Buffer.alloc(rows * 3072, 7) });
  for (const [f, file] of small.train.entries()) place(folder, file, pickled({ labels: [f], data: data(1) }));
  place(folder, 'test_batch', pickled({ labels: [9, 8], data: data(2) }));
}

test('the python version: labels and pixels of all files in order', (t) => {
  const folder = testFolder(t);
  placeSmall(folder);
  const { classes, train, test: other } = readCifarPython('cifar10', folder, small);
  assert.equal(classes[9], 'truck');
  assert.deepEqual(
    [[...train.labels], [...other.labels]],
    [
      [0, 1, 2, 3, 4],
      [9, 8],
    ],
  );
  assert.ok(other.source.kind === 'raw' && other.source.pixels.length === 2 * 3072 && other.source.pixels[6143] === 7);
});

test('the python version: what is missing or of another form is named with its file', (t) => {
  const folder = testFolder(t);
  const refused = (file: string, bytes: Buffer | string, ...said: string[]): void => {
    placeSmall(folder);
    place(folder, file, bytes);
    assert.throws(() => readCifarPython('cifar10', folder, small), failure('data', join(folder, file), ...said));
  };
  const data = { rows: 1, columns: 3072, bytes: Buffer.alloc(3072) };
  refused('data_batch_2', pickled({ data }), 'labels is missing');
  refused('data_batch_2', pickled({ labels: [1] }), 'data is missing', '1 × 3072');
  refused('data_batch_2', pickled({ labels: [10], data }), 'has 10 at 0', '0 to 9');
  refused('data_batch_2', pickled({ labels: [1, 1], data }), '2 entries', '1 numbers');
  refused('data_batch_2', pickled({ labels: [1], data: { ...data, columns: 1536, rows: 2 } }), '2 × 1536');
  refused('batches.meta', pickled({ label_names: ['a', 'a'] }), '2 entries', '10 different');
  refused('batches.meta', pickled({ names: ['a'] }), 'label_names is missing', 'names');
  refused('test_batch', Buffer.from('\x80\x02cos\nsystem\n.', 'latin1'), 'code of Python');
});
