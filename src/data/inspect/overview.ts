/** An image of a data set: a row a class, its index before some of its training images. */
import { setImmediate } from 'node:timers/promises';
import type { Dataset, Split } from '../dataset.js';
import { encodePng, imageAt } from '../images/decode.js';
import { type Image, interleaved } from '../images/image.js';

const PER_CLASS = 8;
/** Side of an image, at most, and the space around it, in pixels. */
const MAX_SIDE = 64;
const GAP = 2;

/** Five rows of three dots, drawn here since a font is not on every machine; a dot is DOT × DOT pixels. */
const DIGITS = [
  '### #.# #.# #.# ###',
  '.#. ##. .#. .#. ###',
  '### ..# ### #.. ###',
  '### ..# ### ..# ###',
  '#.# #.# ### ..# ..#',
  '### #.. ### ..# ###',
  '### #.. ### #.# ###',
  '### ..# ..# ..# ..#',
  '### #.# ### #.# ###',
  '### #.# ### ..# ###',
].map((rows) => rows.split(' '));
const DOT = 2;

/**
 * PNG with eight training images of each class, spread over it; classes run down and, when they are many, in further
 * columns beside, so that it is about as wide as high. A place stays dark where a class has fewer images or one does
 * not decode.
 */
export async function overviewPng(dataset: Dataset): Promise<Buffer> {
  const classes = dataset.classes.length;
  const side = sideOf(dataset.train);
  const gutter = String(classes - 1).length * 4 * DOT + GAP;
  const block = { width: gutter + PER_CLASS * (side + GAP) + 4 * GAP, height: side + GAP };
  const columns = Math.max(1, Math.round(Math.sqrt((classes * block.height) / block.width)));
  const rows = Math.ceil(classes / columns);
  const width = columns * block.width;
  const pixels = new Uint8Array(width * rows * block.height * 3);
  for (let label = 0; label < classes; label++) {
    await setImmediate(); // lets signals in
    const left = Math.floor(label / rows) * block.width;
    const top = (label % rows) * block.height + GAP;
    drawNumber(pixels, width, label, left + GAP, top + Math.max(0, Math.floor((side - 5 * DOT) / 2)));
    for (const [place, index] of chosen(dataset.train.labels, label).entries()) {
      // `problems` names those that do not decode
      const image = await imageAt(dataset.train.source, index, { height: side, width: side }).catch(() => null);
      if (image !== null) draw(pixels, width, image, side, left + gutter + GAP + place * (side + GAP), top);
    }
  }
  return encodePng(pixels, width, rows * block.height);
}

/** Small images of one size stay as they are. */
const sideOf = ({ source }: Split): number =>
  source.kind === 'raw' ? Math.min(MAX_SIDE, Math.max(source.height, source.width)) : MAX_SIDE;

/** Indices of up to eight images of a class, evenly spread. */
function chosen(labels: Int32Array, label: number): number[] {
  const own = Array.from(labels.keys()).filter((index) => labels[index] === label);
  const count = Math.min(PER_CLASS, own.length);
  return Array.from({ length: count }, (_, i) => own[Math.floor((i * own.length) / count)]!);
}

/** @param width of the whole, in pixels */
function draw(pixels: Uint8Array, width: number, image: Image, side: number, left: number, top: number): void {
  const own = interleaved(image);
  for (let row = 0; row < side; row++) {
    pixels.set(own.subarray(row * side * 3, (row + 1) * side * 3), ((top + row) * width + left) * 3);
  }
}

function drawNumber(pixels: Uint8Array, width: number, number: number, left: number, top: number): void {
  for (const [place, digit] of [...String(number)].entries()) {
    for (const [y, dots] of (DIGITS[Number(digit)] ?? []).entries()) {
      for (const [x, dot] of [...dots].entries()) {
        if (dot !== '#') continue;
        for (let line = 0; line < DOT; line++) {
          const at = ((top + y * DOT + line) * width + left + (place * 4 + x) * DOT) * 3;
          pixels.fill(255, at, at + DOT * 3);
        }
      }
    }
  }
}
