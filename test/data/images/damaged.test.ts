/** Damaged files, against what Pillow makes of them: torchvision/damaged.py. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeImage } from '../../../src/data/images/decode.js';
import { interleaved } from '../../../src/data/images/image.js';
import { DEFAULT_READING } from '../../../src/data/reading.js';
import { GqaError } from '../../../src/errors.js';
import { loadImages } from '../../../src/native/images.js';

interface Damage {
  /** Offset, bytes removed, bytes put there in hexadecimal. */
  changes: [number, number, string][];
  /** SHA-256 of Pillow's pixels. */
  rgb?: string;
  /** What Pillow says. */
  refused?: string;
}

const { height, width, images } = JSON.parse(readFileSync('test/data/torchvision/damaged.json', 'utf8')) as {
  height: number;
  width: number;
  images: Record<string, { file: string; damages: Record<string, Damage> }>;
};

/** Where we differ: refused though Pillow decodes, or the other way round with the pixels of the whole image. */
const REFUSED_HERE = ['a.png: IDAT of a wrong CRC', 'progressive.jpg: restart interval of 1'];
const DECODED_HERE = ['a.png: tEXt of a wrong CRC'];

function damaged(file: Buffer, changes: Damage['changes']): Buffer {
  let bytes = file;
  for (const [at, removed, put] of changes) {
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(put, 'hex'), bytes.subarray(at + removed)]);
  }
  return bytes;
}

type Outcome = { rgb: string; damage: string | null } | { refused: string };

const decoded = (bytes: Buffer, onBadImage: 'warn' | 'error'): Promise<Outcome> =>
  decodeImage({ bytes, name: 'a.jpg' }, null, { ...DEFAULT_READING, onBadImage }).then(
    (image) => ({ rgb: createHash('sha256').update(interleaved(image)).digest('hex'), damage: image.damage }),
    (error: unknown) => {
      assert.ok(error instanceof GqaError && error.code === 'data', String(error));
      return { refused: error.message };
    },
  );

for (const [name, { file, damages }] of Object.entries(images)) {
  test(`${name}, damaged in ${Object.keys(damages).length} ways, decodes to Pillow's bytes or is refused as by Pillow`, async () => {
    const whole = Buffer.from(file, 'base64');
    for (const [what, { changes, rgb }] of Object.entries(damages)) {
      const label = `${name}: ${what}`;
      const bytes = damaged(whole, changes);
      const found = await decoded(bytes, 'warn');
      if (REFUSED_HERE.includes(label)) assert.ok('refused' in found && rgb !== undefined, label);
      else if (DECODED_HERE.includes(label))
        assert.deepEqual([found, rgb], [{ rgb: damages.nothing?.rgb, damage: null }, undefined], label);
      else assert.equal('rgb' in found ? found.rgb : undefined, rgb, `${label}: ${JSON.stringify(found)}`);

      // What is reported as damaged is what is refused under `error`, and all else is the same under both.
      const strict = await decoded(bytes, 'error');
      if ('rgb' in found && found.damage !== null) {
        assert.match(found.damage, /^a\.jpg \(\d+ bytes\) is damaged: \S/, label);
        assert.ok('refused' in strict, label);
      } else assert.deepEqual(strict, found, label);
    }
    if (name.endsWith('.jpg'))
      assert.ok(Object.values(damages).filter(({ rgb }) => rgb !== undefined).length >= 30, name);
  });
}

const addon = loadImages().addon;

test("the native decoder warns of what is reported as damaged, and its bytes are Pillow's too", {
  skip: addon === null && 'set-up compiled no addon',
}, async () => {
  let [warned, same] = [0, 0];
  for (const [name, { file, damages }] of Object.entries(images)) {
    if (['progressive.jpg', 'cmyk.jpg'].includes(name)) continue; // never decoded natively
    for (const [what, { changes, rgb }] of Object.entries(damages)) {
      const bytes = damaged(Buffer.from(file, 'base64'), changes);
      const pixels = new Uint8Array(height * width * 3);
      const warnings = addon!.decodeJpeg(bytes, pixels, height, width);
      const found = await decoded(bytes, 'warn');
      if (warnings > 0) assert.ok('rgb' in found && found.damage !== null, what);
      if (warnings >= 0 && 'rgb' in found) assert.equal(createHash('sha256').update(pixels).digest('hex'), rgb, what);
      if (warnings > 0) warned++;
      if (warnings === 0) same++;
    }
  }
  assert.ok(warned > 60 && same > 60, `${warned} ${same}`);
});
