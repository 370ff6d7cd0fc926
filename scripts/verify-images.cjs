/**
 * Run by set-up in a process of its own: loads the native addon for images and decodes one; prints {} when it is as
 * sharp's. libtensorflow's decoder takes a structure whose layout no header of the wheels tells (src/native/images.cc).
 */

const assert = require('node:assert');
const { createRequire } = require('node:module');
const path = require('node:path');

const [root, addon] = process.argv.slice(2).map((argument) => path.resolve(argument));

async function main() {
  const sharp = createRequire(path.join(root, 'package.json'))('sharp');
  const [height, width] = [13, 22];
  const drawn = Buffer.from({ length: height * width * 3 }, (_, i) => (i * i) % 251);
  const encoded = await sharp(drawn, { raw: { height, width, channels: 3 } })
    .jpeg()
    .toBuffer();
  const expected = await sharp(encoded).raw().toBuffer();
  const found = new Uint8Array(height * width * 3);
  assert(
    require(addon).decodeJpeg(encoded, found, height, width) === 0 && expected.equals(found),
    'a JPEG came out otherwise than from sharp',
  );
  console.log('{}');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
