/** Run by fused.test.ts in a process of its own: the cases with the addon that it is given, and what that says of itself. */
import { createRequire } from 'node:module';
import util from 'node:util';
import { registerGradients } from '../../src/native/kernels.js';
import { compareAttention, compareProducts, compareRows, PRECISIONS } from './fused-cases.js';

const require = createRequire(import.meta.url);
(util as { isNullOrUndefined?: unknown }).isNullOrUndefined = (value: unknown) => value === null || value === undefined;
require('@tensorflow/tfjs-node-gpu');
registerGradients();
const [, , addon = ''] = process.argv;
const { instructions, products } = require(addon) as { instructions: string; products: boolean };
for (const precision of PRECISIONS) {
  compareRows(precision);
  compareAttention(precision);
}
if (products) compareProducts();
console.log(`${instructions}: all compared`);
