import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import sharp, { type Sharp } from 'sharp';
import { decodeImage } from '../../../src/data/images/decode.js';
import { resizeImage } from '../../../src/data/images/image.js';
import { failure, place, testFolder } from '../files.js';

const HEIGHT = 6;
const WIDTH = 8;
const rgb = Buffer.from(Array.from({ length: HEIGHT * WIDTH * 3 }, (_, i) => (i * 37) % 256));
const image = (): Sharp => sharp(rgb, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } });

/** The decoded image as interleaved RGB. */
async function rgbOf(path: string, size: { height: number; width: number } | null = null): Promise<number[]> {
  const { bytes, start, height, width, pixelStride, channelStride } = await decodeImage(path, size);
  return Array.from(
    { length: height * width * 3 },
    (_, i) => bytes[start + Math.floor(i / 3) * pixelStride + (i % 3) * channelStride] ?? -1,
  );
}

test('reads lossless PNG and WebP to the original bytes, JPEG to those of a plain decode, whatever the name says', async (t) => {
  const folder = testFolder(t);
  assert.deepEqual(await rgbOf(place(folder, 'a.png', await image().png().toBuffer())), [...rgb]);
  assert.deepEqual(await rgbOf(place(folder, 'b.webp', await image().webp({ lossless: true }).toBuffer())), [...rgb]);
  assert.deepEqual(await rgbOf(place(folder, 'png.jpg', await image().png().toBuffer())), [...rgb]);
  const jpeg = await image().jpeg().toBuffer();
  assert.deepEqual(await rgbOf(place(folder, 'c.jpg', jpeg)), [...(await sharp(jpeg).raw().toBuffer())]);
});

test('keeps every byte when the image has the wanted size already', async (t) => {
  const path = place(testFolder(t), 'a.png', await image().png().toBuffer());
  assert.deepEqual(await rgbOf(path, { height: HEIGHT, width: WIDTH }), [...rgb]);
});

test('makes three equal channels of grey, also of grey with alpha and of JPEG', async (t) => {
  const folder = testFolder(t);
  const grey = image().greyscale();
  for (const [name, bytes] of [
    ['a.png', await grey.clone().png().toBuffer()],
    ['a.jpg', await grey.clone().jpeg().toBuffer()],
    ['b.png', await grey.clone().ensureAlpha(1).png().toBuffer()],
  ] as const) {
    const values = await rgbOf(place(folder, name, bytes));
    assert.equal(values.length, HEIGHT * WIDTH * 3);
    assert.ok(new Set(values).size > 10, name);
    for (let i = 0; i < values.length; i += 3)
      assert.ok(values[i] === values[i + 1] && values[i] === values[i + 2], name);
  }
});

/** Images in every colour mode and what torchvision's loader makes of them: torchvision/colour-modes.py. */
const modes = JSON.parse(readFileSync('test/data/torchvision/colour-modes.json', 'utf8')) as {
  images: Record<string, { mode: string; file: string; rgb: string }>;
};

for (const [name, { mode, file, rgb }] of Object.entries(modes.images)) {
  if (name === 'grey-16.png') continue;
  test(`decodes ${name} (${mode}) to the bytes of torchvision`, async (t) => {
    const path = place(testFolder(t), name, Buffer.from(file, 'base64'));
    assert.deepEqual(await rgbOf(path), [...Buffer.from(rgb, 'base64')]);
  });
}

test('keeps the high byte of 16-bit grey, which torchvision shows as white', async (t) => {
  const { file, rgb } = modes.images['grey-16.png']!;
  const found = await rgbOf(place(testFolder(t), 'a.png', Buffer.from(file, 'base64')));
  assert.deepEqual(
    found.slice(0, 3 * 16),
    Array.from({ length: 16 }, (_, column) => [column * 16, column * 16, column * 16]).flat(),
  );
  assert.ok(Buffer.from(rgb, 'base64').filter((value) => value === 255).length > 500);
});

test('resizes what was transparent or CMYK after it has become RGB, as torchvision does', async (t) => {
  const folder = testFolder(t);
  for (const name of ['rgba.png', 'rgba-lossless.webp', 'cmyk.jpg', 'rgb-16.png']) {
    const { file, rgb } = modes.images[name]!;
    const size = { height: 6, width: 8 };
    const opaque = await sharp(Buffer.from(rgb, 'base64'), { raw: { height: 12, width: 16, channels: 3 } })
      .png()
      .toBuffer();
    assert.deepEqual(
      await rgbOf(place(folder, name, Buffer.from(file, 'base64')), size),
      await rgbOf(place(folder, 'opaque.png', opaque), size),
    );
  }
});

test('decodes bytes in shared memory as those of a file, and names them in its errors', async () => {
  const png = await image().png().toBuffer();
  const bytes = new Uint8Array(new SharedArrayBuffer(png.length));
  bytes.set(png);
  const { bytes: found } = await decodeImage({ bytes, name: 'x.parquet, row 7' }, null);
  assert.deepEqual([...found], [...rgb]);
  await assert.rejects(
    decodeImage({ bytes: bytes.slice(0, 60), name: 'x.parquet, row 7' }, null),
    failure('data', 'x.parquet, row 7'),
  );
});

test('does not turn an image by its EXIF orientation', async (t) => {
  const turned = await image().withMetadata({ orientation: 6 }).png().toBuffer();
  assert.equal((await sharp(turned).metadata()).orientation, 6);
  assert.deepEqual(await rgbOf(place(testFolder(t), 'a.png', turned)), [...rgb]);
});

test('resizes to exactly the size, aspect ratio not kept, from 1 × 1 too', async (t) => {
  const folder = testFolder(t);
  const { height, width } = await decodeImage(place(folder, 'a.png', await image().png().toBuffer()), {
    height: 5,
    width: 3,
  });
  assert.deepEqual([height, width], [5, 3]);
  const dot = await sharp({ create: { width: 1, height: 1, channels: 3, background: { r: 9, g: 8, b: 7 } } })
    .png()
    .toBuffer();
  const grown = await rgbOf(place(folder, 'dot.png', dot), { height: 4, width: 2 });
  assert.deepEqual(grown, Array.from({ length: 8 }, () => [9, 8, 7]).flat());
});

test('resizes raw images as decoded ones', async (t) => {
  const size = { height: 3, width: 4 };
  const raw = { bytes: rgb, start: 0, height: HEIGHT, width: WIDTH, pixelStride: 3, channelStride: 1 };
  const resized = await resizeImage(raw, size);
  assert.deepEqual(
    [...resized.bytes],
    await rgbOf(place(testFolder(t), 'a.png', await image().png().toBuffer()), size),
  );
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
    await assert.rejects(decodeImage(path, null), failure('data', path, 'does not decode'));
  }
});

test('refuses other kinds of files by their content, telling what they are', async (t) => {
  const folder = testFolder(t);
  for (const [name, bytes, said] of [
    ['empty.jpg', '', 'is empty'],
    ['a.jpg', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'is SVG'],
    ['b.jpg', '<!DOCTYPE html><html><body>404</body></html>', 'is HTML'],
    ['c.jpg', await image().gif().toBuffer(), 'is GIF'],
    ['d.jpg', await image().tiff().toBuffer(), 'is TIFF'],
    ['e.jpg', 'not an image at all', 'of an unknown kind'],
  ] as const) {
    const path = place(folder, name, bytes);
    await assert.rejects(decodeImage(path, null), failure('data', path, said, 'expected JPEG, PNG, WebP'));
  }
  await assert.rejects(decodeImage(`${folder}/none.jpg`, null), failure('data', 'none.jpg', 'ENOENT'));
});

test('refuses an image of more than 50 megapixels before decoding it', async (t) => {
  const large = sharp({ create: { width: 10_001, height: 5_000, channels: 3, background: 'black' } });
  const path = place(testFolder(t), 'large.png', await large.png({ compressionLevel: 1 }).toBuffer());
  await assert.rejects(decodeImage(path, { height: 8, width: 8 }), failure('data', path, 'exceeds pixel limit'));
});
