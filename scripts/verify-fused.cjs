/**
 * Run by set-up in a process of its own: loads the addon of fused operations beside libtensorflow and computes small
 * cases whose results are known; prints {} when they are right. A wrong instruction takes this process with it, not
 * set-up.
 */

const assert = require('node:assert');
const { createRequire } = require('node:module');
const path = require('node:path');
const util = require('node:util');

// tfjs-node calls this function, which Node 22 warns about and Node 23 removed.
util.isNullOrUndefined = (value) => value === null || value === undefined;

const [root, addon] = process.argv.slice(2).map((argument) => path.resolve(argument));
const tf = createRequire(path.join(root, 'package.json'))('@tensorflow/tfjs-node-gpu');
const { instructions, products } = require(addon);
assert(instructions !== null, 'Error: this processor has no AVX2');

const backend = tf.backend();
const { TF_ATTR_TYPE, TF_FLOAT, TF_ATTR_INT, TF_ATTR_FLOAT } = backend.binding;
const type = { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT };
const integer = (name, value) => ({ name, type: TF_ATTR_INT, value });

function near(found, expected, what) {
  const values = found.dataSync();
  assert(
    values.length === expected.length && expected.every((value, i) => Math.abs(values[i] - value) < 1e-5),
    `Error: ${what} came out as ${[...values]}, not ${expected}`,
  );
}

// 19 numbers: whole vectors and a rest, whatever their length
const z = tf.tensor2d([[...Array(18).fill(-1), 0.5]]);
const gelu = backend.executeSingleOutput('GqaBiasGelu', [type], [z, tf.ones([19])]);
near(gelu, [...Array(18).fill(0), 1.5 * 0.9331928], 'GELU');

const norm = backend.executeMultipleOutputs(
  'GqaNorm',
  [type, { name: 'epsilon', type: TF_ATTR_FLOAT, value: 0 }],
  [tf.tensor2d([[1, 3]]), tf.tensor1d([2, 1]), tf.tensor1d([0, 5])],
  2,
);
near(norm[0], [-2, 6], 'a layer norm');

// two heads of one number that read key heads 1 and 0 of two tokens; equal scores, so that values are averaged
const attention = backend.executeMultipleOutputs(
  'GqaAttention',
  [type, integer('batch', 1), integer('heads', 2), integer('key_heads', 2), integer('value_heads', 2)],
  [
    ...[
      tf.zeros([1, 2]),
      tf.ones([2, 2]),
      tf.tensor2d([
        [1, 10],
        [3, 30],
      ]),
    ],
    ...[tf.zeros([2]), tf.zeros([2]), tf.tensor1d([0, 1])],
    ...[tf.tensor1d([1, 0], 'int32'), tf.tensor1d([1, 0], 'int32')],
  ],
  2,
);
near(attention[0], [21, 2], 'attention');
near(attention[1], [Math.LN2, Math.LN2], 'the logarithms of attention');
if (products) {
  const [a, b] = [tf.tensor2d([[1, 2, 3]]), tf.tensor2d([[1], [10], [100]])];
  const sides = ['transpose_a', 'transpose_b'].map((name) => ({
    name,
    type: backend.binding.TF_ATTR_BOOL,
    value: false,
  }));
  near(backend.executeSingleOutput('GqaProduct', [type, ...sides], [a, b]), [321], 'a product');
}
console.log('{}');
