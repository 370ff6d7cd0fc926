/** A graph in TensorFlow: loaded once, run by the names of its nodes, released. State lives here, between runs. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { GqaError } from '../errors.js';
import { TraceError } from './error.js';
import type { Graph, Output } from './graph.js';
import { encodeSavedModel, TAG } from './saved-model.js';
import { inTemporaryFolder } from './temporary.js';

export interface Session {
  /** Bytes of the graph as it was loaded. */
  graphBytes: number;
  /** One native call; the caller owns the tensors returned. @throws GqaError `training` when the memory ran out */
  run(inputs: { output: Output; tensor: tf.Tensor }[], outputs: Output[]): tf.Tensor[];
  dispose(): void;
}

const NATIVE = 'tensorflow';

/**
 * What tfjs-node's backend offers below `tf.node.loadSavedModel`, which would read the whole graph back in JavaScript
 * for every entry point.
 */
interface NativeBackend {
  loadSavedModelMetaGraph(folder: string, tags: string): number;
  runSavedModel(id: number, inputs: tf.Tensor[], infos: { name: string }[], outputs: string[]): tf.Tensor[];
  deleteSavedModel(id: number): void;
}

/**
 * @throws TraceError when the native backend is not the one in use; GqaError `io` when the folder for temporary files
 *   cannot be used
 */
export function openSession(graph: Graph): Session {
  if (tf.getBackend() !== NATIVE)
    throw new TraceError(`compiled functions need the native backend, and ${tf.getBackend()} is in use`);
  const backend = tf.backend() as unknown as NativeBackend;
  const bytes = encodeSavedModel(graph);
  const id = inTemporaryFolder('traced-', (folder) => {
    writeFileSync(path.join(folder, 'saved_model.pb'), bytes);
    return backend.loadSavedModelMetaGraph(folder, TAG);
  });
  let open = true;
  return {
    graphBytes: bytes.length,
    run(inputs, outputs) {
      if (!open) throw new TraceError('the compiled program was disposed');
      const infos = inputs.map(({ output }) => ({ name: port(output) }));
      const tensors = inputs.map(({ tensor }) => tensor);
      try {
        return backend.runSavedModel(id, tensors, infos, outputs.map(port));
      } catch (error) {
        throw outOfMemory(error) ?? error;
      }
    },
    dispose() {
      if (open) backend.deleteSavedModel(id);
      open = false;
    },
  };
}

/** TensorFlow's words for it, on a GPU and on a CPU; null: another error. */
function outOfMemory(cause: unknown): GqaError | null {
  const found = /OOM when allocating tensor with shape\[([\d,]*)\].*?device:(\w+):/s.exec((cause as Error).message);
  if (found === null) return null;
  const [, shape = '', device] = found;
  return new GqaError(
    'training',
    `the memory of the ${device} ran out, for a tensor of ${shape.replaceAll(',', ' × ')} elements`,
    {
      hint: 'Less is taken by a smaller train.batch_size with more train.grad_accum_steps, by train.recompute: blocks and train.precision: bfloat16, and in evaluation by a smaller eval.batch_size.',
      cause,
    },
  );
}

/** A node's output as the session names it: always with its number. */
const port = (output: Output): string => (/:\d+$/.test(output) ? output : `${output}:0`);
