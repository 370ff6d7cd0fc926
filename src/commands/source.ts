/** Where a model that is to be measured comes from: a run's folder, or a checkpoint with a config. */
import fs from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';
import { command } from '../invocation.js';

export const modelIn = (run: string, which: 'last' | 'best'): string =>
  path.join(run, 'checkpoints', which, 'model.safetensors');

/** What status.json says of a run that has no best checkpoint. */
const WITHOUT_BEST: Record<string, (at: string) => string> = {
  running: (at) => `The run is still in its first epoch, or was killed there (status.json: running, ${at}).`,
  failed: (at) => `The run failed before its first epoch was measured (status.json: ${at}).`,
  interrupted: (at) => `The run was interrupted before its first epoch was measured (status.json: ${at}).`,
  done: () => 'The run came to its end (status.json): the file was taken away since.',
};

/** Why there is no best checkpoint, and what there is instead. */
function withoutBest(run: string): string {
  const last = modelIn(run, 'last');
  const instead = fs.existsSync(last)
    ? `\nIts last model can be measured: ${command(`eval --checkpoint ${last} --config ${path.join(run, 'config.yaml')}`)}`
    : '';
  let why: string | undefined;
  try {
    const { state, epoch, step } = JSON.parse(fs.readFileSync(path.join(run, 'status.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    why = WITHOUT_BEST[String(state)]?.(`epoch ${epoch}, step ${step}`);
  } catch {
    // Said below.
  }
  return `${why ?? 'Its status.json, which would tell why, cannot be read.'}${instead}`;
}

/**
 * A checkpoint and the config to read it by.
 * @param what the command, for messages
 */
export function sourceOf(
  { run, checkpoint, config }: { run?: string; checkpoint?: string; config?: string },
  what = 'eval',
): { config: string; checkpoint: string } {
  if (run !== undefined && checkpoint === undefined && config === undefined) {
    const best = modelIn(run, 'best');
    if (!fs.existsSync(path.join(run, 'config.yaml'))) {
      throw new GqaError('usage', `${run}: not a run folder: it holds no config.yaml`, {
        hint: 'Give runs/<name>/<run>, or --checkpoint FILE --config FILE.',
      });
    }
    if (!fs.existsSync(best))
      throw new GqaError('io', `${best}: there is no such checkpoint`, { hint: withoutBest(run) });
    return { config: path.join(run, 'config.yaml'), checkpoint: best };
  }
  if (run === undefined && checkpoint !== undefined && config !== undefined) return { config, checkpoint };
  throw new GqaError('usage', `${what} takes either a run folder, or --checkpoint FILE and --config FILE`, {
    hint: `${command(`${what} --help`)} shows both.`,
  });
}
