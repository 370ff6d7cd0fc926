/**
 * Safetensors files with a fault or two, the same for a seed on every machine: bytes changed, cut, added, numbers and
 * words of the header changed. Also a program: `node dist/test/checkpoint/mutations.js FOLDER SEED COUNT` writes them,
 * for judge.py beside it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { draws } from '../../src/random.js';

type Uniform = () => number;

/** A file as others write it: several kinds of numbers, an empty tensor, metadata, a padded header. */
function whole(): Buffer {
  const header = {
    __metadata__: { format: 'pt', note: 'ä' },
    'a.weight': { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
    'b.bias': { dtype: 'F16', shape: [4], data_offsets: [24, 32] },
    c: { dtype: 'I64', shape: [], data_offsets: [32, 40] },
    empty: { dtype: 'BF16', shape: [0, 5], data_offsets: [40, 40] },
    d: { dtype: 'U8', shape: [8], data_offsets: [40, 48] },
  };
  return joined(JSON.stringify(header), Buffer.alloc(48, 7));
}

function joined(header: string, data: Buffer): Buffer {
  const text = Buffer.from(header.padEnd(Math.ceil(Buffer.byteLength(header) / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

const pick = <T>(of: readonly T[], uniform: Uniform): T => of[Math.floor(uniform() * of.length)] as T;
const placeIn = (bytes: Buffer, uniform: Uniform): number => Math.floor(uniform() * bytes.length);

/** Changes the header's text and keeps its length field right. */
const ofHeader =
  (change: (text: string, uniform: Uniform) => string) =>
  (bytes: Buffer, uniform: Uniform): Buffer => {
    if (bytes.length < 8) return bytes;
    const end = 8 + Number(bytes.readBigUInt64LE(0) & 0xffffn);
    return joined(change(bytes.toString('utf8', 8, end).trimEnd(), uniform), bytes.subarray(end));
  };

const NUMBERS = [
  '0',
  '1',
  '-1',
  '3',
  '24',
  '25',
  '48',
  '49',
  '1.5',
  '1e2',
  '4294967296',
  '9007199254740993',
  '01',
  'null',
  '"8"',
];
const WORDS = [
  'F32',
  'F64',
  'F99',
  'f32',
  'BOOL',
  'I8',
  '',
  'dtype',
  'shape',
  'data_offsets',
  'a.weight',
  '__metadata__',
];

const MUTATIONS: ((bytes: Buffer, uniform: Uniform) => Buffer)[] = [
  (bytes, uniform) => {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[placeIn(changed, uniform)] = Math.floor(uniform() * 256);
    return changed;
  },
  (bytes, uniform) => bytes.subarray(0, placeIn(bytes, uniform)),
  (bytes, uniform) => Buffer.concat([bytes, Buffer.alloc(1 + Math.floor(uniform() * 9), 1)]),
  (bytes, uniform) => {
    const at = placeIn(bytes, uniform);
    return Buffer.concat([bytes.subarray(0, at), Buffer.from([Math.floor(uniform() * 256)]), bytes.subarray(at)]);
  },
  (bytes, uniform) => {
    const changed = Buffer.from(bytes);
    if (changed.length >= 8)
      changed.writeBigUInt64LE(pick([0n, 1n, 8n, 100n, 1n << 20n, 100_000_001n, 1n << 40n, (1n << 64n) - 1n], uniform));
    return changed;
  },
  ofHeader((text, uniform) => replacedOne(text, /-?\b\d+(?:\.\d+)?\b/g, pick(NUMBERS, uniform), uniform)),
  ofHeader((text, uniform) => replacedOne(text, /"[^"]*"/g, JSON.stringify(pick(WORDS, uniform)), uniform)),
  ofHeader((text, uniform) =>
    replacedOne(text, /[{}[\],:]/g, pick(['{', '}', '[', ']', ',', ':', ''], uniform), uniform),
  ),
  ofHeader((text, uniform) =>
    text.replace(
      '{',
      `{${pick(['"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},', '"x":1,', '"\\u0000":{},', ' '], uniform)}`,
    ),
  ),
];

function replacedOne(text: string, pattern: RegExp, by: string, uniform: Uniform): string {
  const found = [...text.matchAll(pattern)];
  if (found.length === 0) return text;
  const { index = 0, 0: old } = pick(found, uniform);
  return text.slice(0, index) + by + text.slice(index + old.length);
}

/** @param i which one of the seed's. @returns one or two faults in a whole file */
export function mutated(seed: number, i: number): Buffer {
  const from = draws(seed, `mutation/${i}`);
  const uniform = (): number => from.uniform();
  let bytes = whole();
  for (let faults = uniform() < 0.7 ? 1 : 2; faults > 0; faults--) bytes = pick(MUTATIONS, uniform)(bytes, uniform);
  return bytes;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder = '.', seed = '1', count = '2000'] = process.argv.slice(2);
  for (let i = 0; i < Number(count); i++)
    fs.writeFileSync(path.join(folder, `${String(i).padStart(6, '0')}.safetensors`), mutated(Number(seed), i));
}
