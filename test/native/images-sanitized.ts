/**
 * Run by images-fuzz.test.ts with a sanitizer loaded before all else: the addon of argument 1 on seeded images. Prints
 * what became of the JPEGs, as one line of JSON.
 */
import { createRequire } from 'node:module';
import type { ImageAddon } from '../../src/native/images.js';
import { damagedJpegs, fuzzDecoder, fuzzLoops } from './images-fuzz.js';

const addon = createRequire(import.meta.url)(process.argv[2] ?? '') as ImageAddon;
fuzzLoops(addon, 3, 8);
const { jpegs, size } = damagedJpegs();
console.log(JSON.stringify(fuzzDecoder(addon, jpegs, size, 4, 150)));
