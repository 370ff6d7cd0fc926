/** Where set-up (scripts/addons.mjs) puts the native addons. */
import path from 'node:path';
import { packageRoot } from '../version.js';

/** @param project folder with node_modules */
export const addonFile = (name: 'tfjs_binding' | 'gqa_images' | 'gqa_fused', project: string = packageRoot): string =>
  path.join(project, 'node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v8', `${name}.node`);
