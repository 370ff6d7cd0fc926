/** What is said, and kept with the run, of images that could not be read or that are damaged. */
import path from 'node:path';
import type { Pipeline } from '../data/pipeline/pipeline.js';
import type { RunFolder } from '../run/open-run.js';
import { say } from './say.js';

const KINDS = {
  skipped: { one: 'image could not be read and was left out', more: 'images could not be read and were left out' },
  damaged: {
    one: 'image is damaged and was decoded as far as it goes',
    more: 'images are damaged and were decoded as far as they go',
  },
} as const;

type Found = Pick<Pipeline, keyof typeof KINDS>;

const kinds = Object.keys(KINDS) as (keyof typeof KINDS)[];

/** Lists them in the run's files. */
export function keepFlawed(found: Found, run: Pick<RunFolder, 'noteImages'>): void {
  for (const kind of kinds) run.noteImages(kind, found[kind]);
}

/** @param folder of the run that lists them; null: the first is reported here */
export function sayFlawed(found: Found, folder: string | null): void {
  for (const kind of kinds) {
    const [first, ...others] = found[kind];
    if (first === undefined) continue;
    const what = others.length === 0 ? `1 ${KINDS[kind].one}` : `${others.length + 1} ${KINDS[kind].more}`;
    say(
      `${what}: ${folder === null ? `${first.reason}${others.length > 0 ? ' …' : ''}` : path.join(folder, `${kind}.jsonl`)}`,
    );
  }
}
