/** Run by pictures-fuzz.test.ts with a sanitizer loaded before all else: the addon of argument 1 on seeded pictures. Prints what became of the JPEGs, as one line of JSON. */
import { createRequire } from 'node:module';
import type { PictureAddon } from '../../src/native/pictures.js';
import { damagedJpegs, fuzzDecoder, fuzzLoops } from './pictures-fuzz.js';

const addon = createRequire(import.meta.url)(process.argv[2] ?? '') as PictureAddon;
fuzzLoops(addon, 3, 8);
const { jpegs, size } = damagedJpegs();
console.log(JSON.stringify(fuzzDecoder(addon, jpegs, size, 4, 150)));
