/** Whether the device in use has matrix products in another precision than float32. */
import * as tf from '@tensorflow/tfjs-core';
import { GqaError } from '../errors.js';
import { compile } from '../trace/compile.js';
import { float32, traced } from '../trace/function.js';
import type { Precision } from '../trace/recorder.js';
import type { TrainerMode } from './trainer.js';

/**
 * @throws GqaError `usage` where operations run one by one; `environment` with TensorFlow's own reason when there is no
 *   such kernel
 */
export function requirePrecision(precision: Precision, mode: TrainerMode): void {
  if (precision === 'float32') return;
  if (mode === 'eager') {
    throw new GqaError(
      'usage',
      `train.precision ${precision} needs the compiled step, and operations run one by one here: TensorFlow.js has no such type`,
      {
        hint: 'Use the native runtime without --eager, or train.precision: float32.',
      },
    );
  }
  try {
    const products = traced({ a: float32(2, 4, 4) }, ({ a }) => ({
      batched: tf.matMul(a, a),
      plain: tf.matMul(tf.reshape(a, [8, 4]), tf.reshape(a, [4, 8])),
    }));
    const program = compile({ products }, { precision });
    tf.dispose(program.run.products({ a: new Float32Array(32) }));
    program.dispose();
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0];
    throw new GqaError(
      'environment',
      `train.precision ${precision}: this device has no matrix products of that type: ${reason}`,
      {
        hint: 'Use train.precision: float32.',
        cause,
      },
    );
  }
}
