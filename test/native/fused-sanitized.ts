/** Run by fused.test.ts with the address sanitizer loaded: the cases with an addon that was compiled with sanitizers. */
import { createRequire } from 'node:module';
import util from 'node:util';
import { registerGradients } from '../../src/native/kernels.js';
import { compareAttention, compareRows, PRECISIONS } from './fused-cases.js';

const require = createRequire(import.meta.url);
(util as { isNullOrUndefined?: unknown }).isNullOrUndefined = (value: unknown) => value === null || value === undefined;
require('@tensorflow/tfjs-node-gpu');
registerGradients();
const [, , addon = ''] = process.argv;
require(addon);
for (const precision of PRECISIONS) {
  compareRows(precision);
  compareAttention(precision);
}
console.log('all compared');
