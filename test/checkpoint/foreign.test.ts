/** What people give in place of a safetensors file: each is recognised by what it is, in a line, with what to do. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { GqaError } from '../../src/errors.js';
import { writeCheckpoint } from './tensors.js';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
/** The beginning of a zip archive whose first file has this name. */
const zip = (name: string): Buffer =>
  Buffer.concat([latin1('PK\x03\x04'), Buffer.alloc(26), latin1(name), Buffer.alloc(40)]);
const tar = Buffer.alloc(1024);
tar.write('model.pth');
tar.write('ustar', 257);

const FILES: [what: string, bytes: Buffer, message: RegExp, hint: RegExp][] = [
  ['an empty file', Buffer.alloc(0), /is an empty file/, /hf download/],
  [
    'a pointer of Git LFS',
    latin1('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 343\n'),
    /a pointer of Git LFS.*343 bytes/,
    /git lfs pull/,
  ],
  ['a web page', latin1('<!DOCTYPE html>\n<html><body>Not found</body></html>'), /a web page \(HTML\)/, /hf download/],
  ['a web page without a doctype', latin1('\n  <html lang="en">'), /a web page \(HTML\)/, /hf download/],
  [
    'a server’s error',
    latin1('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    /an XML document/,
    /hf download/,
  ],
  ['a word of an error', latin1('Entry not found'), /is a text file/, /hf download/],
  ['torch.save', zip('archive/data.pkl'), /PyTorch \(pickle in a zip archive/, /save_file/],
  ['torch.save of a named file', zip('vit/data.pkl'), /PyTorch/, /save_file/],
  ['an older torch.save', latin1('\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'), /is a pickle/, /save_file/],
  ['weights of JAX', zip('Transformer/encoderblock_0/kernel.npy').subarray(0), /zip archive|NumPy/, /./],
  ['a NumPy archive', zip('cls.npy'), /NumPy archive/, /state_dict/],
  ['a zip archive', zip('readme.txt'), /is a zip archive/, /Unpack/],
  ['a gzip archive', gzipSync('x'), /a gzip archive/, /Unpack/],
  ['a tar archive', tar, /a tar archive/, /Unpack/],
  ['a NumPy array', latin1('\x93NUMPY\x01\x00v\x00{}'), /a NumPy array/, /save_file/],
  ['HDF5', latin1('\x89HDF\r\n\x1a\n\0\0\0\0'), /an HDF5 file/, /save_file/],
  ['GGUF', latin1('GGUF\x03\0\0\0\0\0\0\0'), /a GGUF file/, /save_file/],
  ['ONNX', latin1('\x08\x08\x12\x07pytorch\x1a\x052.0.1:'), /an ONNX model/, /save_file/],
  ['TensorFlow Lite', latin1('\x1c\0\0\0TFL3\0\0\0\0'), /a TensorFlow Lite model/, /save_file/],
  [
    'the index of parts',
    latin1('{"metadata": {"total_size": 1}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}'),
    /the index of a checkpoint in several parts/,
    /\.safetensors\.index\.json/,
  ],
  ['config.json', latin1('{"model_type": "vit", "hidden_size": 768}'), /a text file \(JSON\)/, /\.safetensors/],
  ['a download that was cut at once', Buffer.alloc(4096), /begins with zeros only/, /hf download/],
];

for (const [what, bytes, message, hint] of FILES) {
  test(`${what} is refused as that`, () => {
    assert.throws(
      () => openSafetensors(writeCheckpoint(bytes)),
      (error) => {
        assert.ok(error instanceof GqaError && error.code === 'io', String(error));
        assert.match(error.message, message);
        assert.match(error.hint ?? '', hint);
        assert.equal(error.message.includes('\n'), false);
        return true;
      },
    );
  });
}

test('a pipe is not waited for', (t) => {
  const folder = path.dirname(writeCheckpoint(Buffer.alloc(0)));
  const refused = (file: string, message: RegExp, hint: RegExp): void =>
    assert.throws(
      () => openSafetensors(file),
      (error) =>
        error instanceof GqaError && error.code === 'io' && message.test(error.message) && hint.test(error.hint ?? ''),
    );
  refused(folder, /is no regular file but a folder/, /./);
  if (process.platform === 'win32') return t.skip('no pipes in the file system here');
  const pipe = path.join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  refused(pipe, /is no regular file/, /./);
});

test('a safetensors file that is cut is stated as that, whatever its first byte looks like', () => {
  const whole = encodeSafetensors({ a: { shape: [100_000], data: new Float32Array(100_000) } });
  for (const headerBytes of [0x80 + 0x300, 0x08]) {
    const bytes = Buffer.concat([Buffer.alloc(8), latin1('{"a":'), whole.subarray(0, 500)]);
    bytes.writeUInt32LE(headerBytes + 0x100000);
    assert.throws(() => openSafetensors(writeCheckpoint(bytes)), /cut short\?/);
  }
});
