/**
 * What a file is that is not safetensors, recognised by its first bytes: a pickle, an archive, a web page, a pointer of
 * Git LFS, … Sources of the signatures: the formats' own documents (ZIP APPNOTE 4.3.7, pickle protocol, RFC 1952, NPY,
 * HDF5, GGUF, Git LFS pointer v1).
 */
import fs from 'node:fs';
import { GqaError } from '../errors.js';

/** How much of a file's beginning `foreignKind` looks at. */
export const LOOKED_AT_BYTES = 1024;

interface Kind {
  is: (head: Buffer, text: string) => boolean;
  what: (text: string) => string;
  hint: string;
}

const beginsWith =
  (...bytes: number[]) =>
  (head: Buffer): boolean =>
    bytes.every((byte, i) => head[i] === byte);

const DOWNLOAD = 'Download the file itself, for example: hf download OWNER/MODEL model.safetensors';
const PICKLE =
  'gqa reads no pickle, which can run any code. Save its weights with: safetensors.torch.save_file(model.state_dict(), "model.safetensors")';
const UNPACK = 'Unpack it, and give the .safetensors file in it.';
const EXPORT =
  'Give the weights as safetensors, saved with: safetensors.torch.save_file(model.state_dict(), "model.safetensors")';

const KINDS: readonly Kind[] = [
  {
    is: (_, text) => text.startsWith('version https://git-lfs.github.com/spec/'),
    what: (text) => {
      const bytes = /^size (\d+)$/m.exec(text)?.[1];
      return `a pointer of Git LFS, not the file it stands for${bytes === undefined ? '' : ` (of ${bytes} bytes)`}`;
    },
    hint: `Fetch it with: git lfs pull. ${DOWNLOAD}`,
  },
  {
    is: (_, text) => /^\s*<(!doctype\s+html|html|head|body)\b/i.test(text),
    what: () => 'a web page (HTML)',
    hint: DOWNLOAD,
  },
  {
    is: (_, text) => /^\s*<\?xml\b/i.test(text),
    what: () => 'an XML document, as servers send with an error',
    hint: DOWNLOAD,
  },
  {
    is: (head, text) => beginsWith(0x50, 0x4b, 3, 4)(head) && /^.{30}[^/]*\.npy/s.test(text),
    what: () => 'a NumPy archive (.npz)',
    hint: 'Weights of JAX have other names and layouts: load them into timm’s model, and save its state_dict as safetensors.',
  },
  {
    is: (head, text) =>
      beginsWith(0x50, 0x4b, 3, 4)(head) && /data\.pkl|\.format_version|\.storage_alignment|byteorder/.test(text),
    what: () => 'a checkpoint of PyTorch (pickle in a zip archive, .pth or .bin)',
    hint: PICKLE,
  },
  {
    is: beginsWith(0x50, 0x4b, 3, 4),
    what: () => 'a zip archive',
    hint: `${UNPACK} A .pth of PyTorch is one too: ${PICKLE}`,
  },
  {
    is: (head) => head[0] === 0x80 && (head[1] as number) >= 1 && (head[1] as number) <= 5,
    what: () => 'a pickle (.pth, .bin or .pkl)',
    hint: PICKLE,
  },
  { is: beginsWith(0x1f, 0x8b), what: () => 'a gzip archive', hint: UNPACK },
  { is: beginsWith(0xfd, 0x37, 0x7a, 0x58, 0x5a), what: () => 'an xz archive', hint: UNPACK },
  { is: beginsWith(0x42, 0x5a, 0x68), what: () => 'a bzip2 archive', hint: UNPACK },
  { is: beginsWith(0x28, 0xb5, 0x2f, 0xfd), what: () => 'a zstd archive', hint: UNPACK },
  { is: beginsWith(0x37, 0x7a, 0xbc, 0xaf), what: () => 'a 7z archive', hint: UNPACK },
  { is: (head) => head.toString('latin1', 257, 262) === 'ustar', what: () => 'a tar archive', hint: UNPACK },
  { is: (head) => head.toString('latin1', 0, 6) === '\x93NUMPY', what: () => 'a NumPy array (.npy)', hint: EXPORT },
  {
    is: (_, text) => text.startsWith('\x89HDF\r\n'),
    what: () => 'an HDF5 file (of Keras or TensorFlow)',
    hint: EXPORT,
  },
  { is: (_, text) => text.startsWith('GGUF'), what: () => 'a GGUF file (of llama.cpp)', hint: EXPORT },
  { is: (head) => head.toString('latin1', 4, 8) === 'TFL3', what: () => 'a TensorFlow Lite model', hint: EXPORT },
  {
    is: (head) => head[0] === 8 && [0x12, 0x1a, 0x3a, 0x42].includes(head[2] as number),
    what: () => 'an ONNX model',
    hint: EXPORT,
  },
  {
    is: (_, text) => /^\s*\{/.test(text) && text.includes('"weight_map"'),
    what: () => 'the index of a checkpoint in several parts, not a part',
    hint: 'An index of safetensors files ends in .safetensors.index.json and lies beside them; one of .bin files must be saved anew: model.save_pretrained(FOLDER).',
  },
  {
    is: (_, text) => /^\s*[{[]/.test(text) && isText(text),
    what: () => 'a text file (JSON)',
    hint: 'Give the .safetensors file, not its description.',
  },
  { is: (_, text) => isText(text), what: () => 'a text file', hint: DOWNLOAD },
  {
    is: (head) => head.every((byte) => byte === 0),
    what: () => 'a file that begins with zeros only: perhaps a download that was cut',
    hint: DOWNLOAD,
  },
];

const isText = (text: string): boolean => /^[\t\n\r\x20-\x7e\x80-\xff]+$/.test(text);

/**
 * @param head the file's first bytes.
 * @returns what it is, in words, and what to do; null when nothing is recognised
 */
export function foreignKind(head: Buffer): { what: string; hint: string } | null {
  if (head.length === 0) return { what: 'an empty file', hint: DOWNLOAD };
  const text = head.toString('latin1');
  const kind = KINDS.find(({ is }) => is(head, text));
  return kind === undefined ? null : { what: kind.what(text), hint: kind.hint };
}

/**
 * @throws GqaError `io` when there is no regular file at `file`: nothing, a folder, a pipe or a device
 */
export function requireRegularFile(file: string): void {
  let stats: fs.Stats;
  try {
    stats = fs.statSync(file);
  } catch (cause) {
    throw new GqaError('io', `${file}: cannot be opened (${(cause as NodeJS.ErrnoException).code})`, {
      cause,
      hint: 'Check the path; it is taken relative to the working directory.',
    });
  }
  if (!stats.isFile())
    throw new GqaError(
      'io',
      `${file} is no regular file but a ${stats.isDirectory() ? 'folder' : 'pipe, socket or device'}`,
      {
        hint: 'Give a .safetensors file.',
      },
    );
}
