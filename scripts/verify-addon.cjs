/**
 * Run by set-up in a process of its own: loads the native addon and computes one product. Prints {"version", "gpu"} as
 * one line of JSON.
 */

const { createRequire } = require('node:module');
const path = require('node:path');
const util = require('node:util');

// tfjs-node calls this function, which Node 22 warns about and Node 23 removed.
util.isNullOrUndefined = (value) => value === null || value === undefined;

const root = path.resolve(process.argv[2]);
const tf = createRequire(path.join(root, 'package.json'))('@tensorflow/tfjs-node-gpu');
const [value] = tf.matMul([[1, 2]], [[3], [4]]).dataSync();
if (value !== 11) throw new Error(`Error: 1·3 + 2·4 came out as ${value}`);
const backend = tf.backend();
console.log(JSON.stringify({ version: backend.binding.TF_Version, gpu: backend.isUsingGpuDevice === true }));
