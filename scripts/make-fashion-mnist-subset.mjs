/**
 * Makes datasets/fashion-mnist-subset/ from the full Fashion-MNIST of Debian's package dataset-fashion-mnist: the same
 * images and, byte for byte, the same files on every run. Usage: node scripts/make-fashion-mnist-subset.mjs [source
 * folder] [target folder]
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

const source = process.argv[2] ?? '/usr/share/datasets/fashion-mnist';
const target = process.argv[3] ?? 'datasets/fashion-mnist-subset';
const SEED = 20170828;
const CLASSES = 10;
/** Images of each class: the originals have equally many of each, too. */
const SPLITS = { train: 200, t10k: 100 };

/** mulberry32: enough for choosing images, and small enough to be read here. */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The first `perClass` of every class in a shuffled order, then in the order of the original file. */
function choose(labels, perClass, seed) {
  const random = uniform(seed);
  const order = [...labels.keys()];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  const left = new Array(CLASSES).fill(perClass);
  return order.filter((index) => left[labels[index]]-- > 0).sort((a, b) => a - b);
}

/** gzip without name and time; byte 9 (operating system) set to 255, unknown, whatever zlib put there. */
function pack(bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  packed[9] = 255;
  return packed;
}

function idx(shape, bytes) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x0800 + shape.length, 0);
  for (const [i, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * i);
  return Buffer.concat([header, bytes]);
}

mkdirSync(target, { recursive: true });
for (const [position, [split, perClass]] of Object.entries(SPLITS).entries()) {
  const images = gunzipSync(readFileSync(join(source, `${split}-images-idx3-ubyte.gz`)));
  const labels = gunzipSync(readFileSync(join(source, `${split}-labels-idx1-ubyte.gz`))).subarray(8);
  const height = images.readUInt32BE(8);
  const width = images.readUInt32BE(12);
  const size = height * width;
  const chosen = choose(labels, perClass, SEED + position);
  const pixels = Buffer.concat(chosen.map((index) => images.subarray(16 + index * size, 16 + (index + 1) * size)));
  writeFileSync(join(target, `${split}-images-idx3-ubyte.gz`), pack(idx([chosen.length, height, width], pixels)));
  writeFileSync(
    join(target, `${split}-labels-idx1-ubyte.gz`),
    pack(idx([chosen.length], Buffer.from(chosen.map((index) => labels[index])))),
  );
  console.error(`${split}: ${chosen.length} of ${labels.length} images, ${perClass} of each class`);
}
