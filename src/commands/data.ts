/** `gqa data list | fetch | verify`: which data sets there are, bringing one here, and whether one is whole. */
import { closest } from '../config/expectations.js';
import { dataNames } from '../config/names.js';
import { type CatalogueEntry, catalogue } from '../data/catalogue.js';
import type { Patience } from '../data/download.js';
import { type FetchWatch, fetchDataset, type Needed } from '../data/fetch.js';
import { GqaError } from '../errors.js';
import { type Progress, progress } from '../run/progress.js';
import { say } from './say.js';

type Catalogue = Readonly<Record<string, CatalogueEntry>>;

export interface DataFetchOptions {
  name: string;
  root: string;
  mirror?: string;
  offline: boolean;
  json: boolean;
}

/**
 * @param known what can be fetched, and @param patient how patiently; tests give their own
 * @throws GqaError as `fetchDataset`; `usage` for a name that is not known
 */
export async function dataFetch(options: DataFetchOptions, known: Catalogue = catalogue, patient?: Patience): Promise<void> {
  const { name, root, mirror, offline } = options;
  const entry = entryOf(name, known);
  const signals = abortOnSignals();
  try {
    if (!options.json) say(`${entry.title}, ${entry.page}\nterms: ${entry.terms}`);
    const result = await fetchDataset(
      name,
      entry,
      { root, mirror, offline, ...(patient === undefined ? {} : { patient }) },
      { ...terminal(), signal: signals.signal },
    );
    if (options.json) process.stdout.write(`${JSON.stringify({ name, ...result })}\n`);
    else if (result.state === 'needed') process.stdout.write(instructions(name, root, result.files));
    else process.stdout.write(`${name}: ${result.state === 'present' ? 'there already' : 'installed'} in ${result.folder}\n`);
  } finally {
    signals.release();
  }
}

function entryOf(name: string, known: Catalogue): CatalogueEntry {
  const entry = Object.hasOwn(known, name) ? known[name] : undefined;
  if (entry !== undefined) return entry;
  const near = closest(name, Object.keys(known));
  const own = (dataNames as readonly string[]).includes(name);
  throw new GqaError(
    'usage',
    own ? `${name} has no official address to fetch it from` : `${JSON.stringify(name)} is no data set that can be fetched`,
    {
      hint: `${near === undefined || own ? '' : `Did you mean ${near}? `}Known: ${Object.keys(known).join(', ')}.`,
    },
  );
}

function instructions(name: string, root: string, files: readonly Needed[]): string {
  const lines = files.flatMap(({ url, place, bytes, sha256, md5 }) => [
    url,
    `  as        ${place}`,
    `  bytes     ${bytes}`,
    ...(sha256 === null ? [] : [`  sha256    ${sha256}`]),
    `  md5       ${md5}`,
  ]);
  return [`${name} needs:`, ...lines, `Then: gqa data fetch ${name} --root ${root} --offline`, ''].join('\n');
}

/** Bars and notices on stderr, never on one line. */
function terminal(): Pick<FetchWatch, 'progress' | 'notice'> {
  let bar: Progress | null = null;
  const stop = (): void => {
    bar?.stop();
    bar = null;
  };
  return {
    progress(label, total, from) {
      stop();
      let done = from;
      return {
        update(now) {
          bar ??= progress(label, total, undefined, { unit: 'bytes', from: done });
          done = now;
          bar.update(now);
        },
        stop,
      };
    },
    notice(line) {
      stop();
      say(line);
    },
  };
}

/** The first signal lets what runs tidy up, and tell how to go on; a second one ends the process. */
function abortOnSignals(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const listeners = (['SIGINT', 'SIGTERM'] as const).map((signal) => {
    const listener = (): void => {
      if (controller.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
      controller.abort(signal);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return {
    signal: controller.signal,
    release: () => {
      for (const { signal, listener } of listeners) process.off(signal, listener);
    },
  };
}

export async function dataList(_options: { root: string; json: boolean }): Promise<void> {}
export async function dataVerify(_options: unknown): Promise<void> {}
