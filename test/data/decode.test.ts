import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp, { type Sharp } from 'sharp';
import { decodePicture, resizePicture } from '../../src/data/decode.js';
import { failure, place, testFolder } from './files.js';

const HEIGHT = 6;
const WIDTH = 8;
const rgb = Buffer.from(Array.from({ length: HEIGHT * WIDTH * 3 }, (_, i) => (i * 37) % 256));
const picture = (): Sharp => sharp(rgb, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } });

/** The decoded picture as interleaved RGB. */
async function rgbOf(path: string, size: { height: number; width: number } | null = null): Promise<number[]> {
  const { bytes, start, height, width, pixelStride, channelStride } = await decodePicture(path, size);
  return Array.from(
    { length: height * width * 3 },
    (_, i) => bytes[start + Math.floor(i / 3) * pixelStride + (i % 3) * channelStride] ?? -1,
  );
}

test('reads lossless PNG and WebP to the original bytes, JPEG to those of a plain decode, whatever the name says', async (t) => {
  const folder = testFolder(t);
  assert.deepEqual(await rgbOf(place(folder, 'a.png', await picture().png().toBuffer())), [...rgb]);
  assert.deepEqual(await rgbOf(place(folder, 'b.webp', await picture().webp({ lossless: true }).toBuffer())), [...rgb]);
  assert.deepEqual(await rgbOf(place(folder, 'png.jpg', await picture().png().toBuffer())), [...rgb]);
  const jpeg = await picture().jpeg().toBuffer();
  assert.deepEqual(await rgbOf(place(folder, 'c.jpg', jpeg)), [...(await sharp(jpeg).raw().toBuffer())]);
});

test('keeps every byte when the picture has the wanted size already', async (t) => {
  const path = place(testFolder(t), 'a.png', await picture().png().toBuffer());
  assert.deepEqual(await rgbOf(path, { height: HEIGHT, width: WIDTH }), [...rgb]);
});

test('makes three equal channels of grey, also of grey with alpha and of JPEG', async (t) => {
  const folder = testFolder(t);
  const grey = picture().greyscale();
  for (const [name, bytes] of [
    ['a.png', await grey.clone().png().toBuffer()],
    ['a.jpg', await grey.clone().jpeg().toBuffer()],
    ['b.png', await grey.clone().ensureAlpha(1).png().toBuffer()],
  ] as const) {
    const values = await rgbOf(place(folder, name, bytes));
    assert.equal(values.length, HEIGHT * WIDTH * 3);
    assert.ok(new Set(values).size > 10, name);
    for (let i = 0; i < values.length; i += 3) assert.ok(values[i] === values[i + 1] && values[i] === values[i + 2], name);
  }
});

test('lays transparent pixels on black', async (t) => {
  const path = place(testFolder(t), 'a.png', await picture().ensureAlpha(0.5).png().toBuffer());
  for (const [i, value] of (await rgbOf(path)).entries()) assert.ok(Math.abs(value - rgb[i]! / 2) <= 1, `${value} for ${rgb[i]} / 2`);
});

test('turns CMYK, palettes and 16 bits into 8-bit RGB', async (t) => {
  const folder = testFolder(t);
  const wide = await picture().toColourspace('rgb16').png().toBuffer();
  assert.deepEqual(await rgbOf(place(folder, 'a.png', wide)), [...rgb]);
  const flat = sharp({ create: { width: 4, height: 4, channels: 3, background: { r: 180, g: 140, b: 120 } } });
  for (const [name, bytes] of [
    ['cmyk.jpg', await flat.clone().toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer()],
    ['palette.png', await flat.clone().png({ palette: true }).toBuffer()],
  ] as const) {
    const [r = 0, g = 0, b = 0, ...rest] = await rgbOf(place(folder, name, bytes));
    assert.equal(rest.length, 4 * 4 * 3 - 3);
    // CMYK goes through a colour profile of inks: near, not equal.
    assert.ok(Math.abs(r - 180) < 25 && Math.abs(g - 140) < 25 && Math.abs(b - 120) < 25, `${name}: ${r} ${g} ${b}`);
  }
});

test('does not turn a picture by its EXIF orientation', async (t) => {
  const turned = await picture().withMetadata({ orientation: 6 }).png().toBuffer();
  assert.equal((await sharp(turned).metadata()).orientation, 6);
  assert.deepEqual(await rgbOf(place(testFolder(t), 'a.png', turned)), [...rgb]);
});

test('resizes to exactly the size, aspect ratio not kept, from 1 × 1 too', async (t) => {
  const folder = testFolder(t);
  const { height, width } = await decodePicture(place(folder, 'a.png', await picture().png().toBuffer()), { height: 5, width: 3 });
  assert.deepEqual([height, width], [5, 3]);
  const dot = await sharp({ create: { width: 1, height: 1, channels: 3, background: { r: 9, g: 8, b: 7 } } })
    .png()
    .toBuffer();
  const grown = await rgbOf(place(folder, 'dot.png', dot), { height: 4, width: 2 });
  assert.deepEqual(grown, Array.from({ length: 8 }, () => [9, 8, 7]).flat());
});

test('resizes raw pictures as decoded ones', async (t) => {
  const size = { height: 3, width: 4 };
  const raw = { bytes: rgb, start: 0, height: HEIGHT, width: WIDTH, pixelStride: 3, channelStride: 1 };
  const resized = await resizePicture(raw, size);
  assert.deepEqual([...resized.bytes], await rgbOf(place(testFolder(t), 'a.png', await picture().png().toBuffer()), size));
});

test('refuses files that are cut short, naming them', async (t) => {
  const folder = testFolder(t);
  const noise = sharp(Buffer.from(Array.from({ length: 48 * 48 * 3 }, (_, i) => (i * i * 7) % 251)), {
    raw: { width: 48, height: 48, channels: 3 },
  });
  for (const [name, bytes] of [
    ['a.jpg', await noise.clone().jpeg().toBuffer()],
    ['a.png', await noise.clone().png().toBuffer()],
    ['a.webp', await noise.clone().webp().toBuffer()],
  ] as const) {
    const path = place(folder, name, bytes.subarray(0, Math.floor(bytes.length * 0.7)));
    await assert.rejects(decodePicture(path, null), failure('data', path, 'does not decode'));
  }
});

test('refuses other kinds of files by their content, telling what they are', async (t) => {
  const folder = testFolder(t);
  for (const [name, bytes, said] of [
    ['empty.jpg', '', 'is empty'],
    ['a.jpg', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'is SVG'],
    ['b.jpg', '<!DOCTYPE html><html><body>404</body></html>', 'is HTML'],
    ['c.jpg', await picture().gif().toBuffer(), 'is GIF'],
    ['d.jpg', await picture().tiff().toBuffer(), 'is TIFF'],
    ['e.jpg', 'not a picture at all', 'of an unknown kind'],
  ] as const) {
    const path = place(folder, name, bytes);
    await assert.rejects(decodePicture(path, null), failure('data', path, said, 'expected JPEG, PNG, WebP'));
  }
  await assert.rejects(decodePicture(`${folder}/none.jpg`, null), failure('data', 'none.jpg', 'ENOENT'));
});

test('refuses a picture of more than 50 megapixels before decoding it', async (t) => {
  const large = sharp({ create: { width: 10_001, height: 5_000, channels: 3, background: 'black' } });
  const path = place(testFolder(t), 'large.png', await large.png({ compressionLevel: 1 }).toBuffer());
  await assert.rejects(decodePicture(path, { height: 8, width: 8 }), failure('data', path, 'exceeds pixel limit'));
});
