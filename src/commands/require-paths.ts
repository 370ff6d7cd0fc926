/**
 * Whether what a command is about to read is there, asked before anything is computed: everything that is missing is
 * reported at once, each with the key and place that name it.
 */
import { configError, type ReadConfig } from '../config/load.js';
import { missing, type PathKey, pathOf } from '../config/paths.js';
import { shown } from '../config/shown.js';
import type { Problem } from '../config/source.js';
import { openDataset, whereIs } from '../data/open.js';
import { GqaError } from '../errors.js';

/**
 * @param file of the config
 * @param keys what the command reads
 * @param flags files that flags name, by flag
 * @throws GqaError `data` when the data set is not there, else `io`
 */
export async function requirePaths(
  file: string,
  { config, given }: ReadConfig,
  keys: readonly Exclude<PathKey, 'data.cache'>[],
  flags: Record<string, string> = {},
): Promise<void> {
  const ofFlags = Object.entries(flags).flatMap(([flag, named], i): Problem[] => {
    const what = missing(named);
    return what === undefined
      ? []
      : [{ at: flag, order: Number.MAX_SAFE_INTEGER - 100 + i, text: `is ${shown(named)}, but ${what}` }];
  });
  const ofKeys = keys.flatMap((key): Problem[] => {
    const named = pathOf(config, key);
    const what = named === null ? undefined : key === 'data.root' ? noData(config.data) : missing(named);
    if (what === undefined) return [];
    const { at, order, label } = given.get(key) ?? { at: `${file}:`, order: 0, label: key };
    return [{ at, order, text: `${label} is ${shown(named)}${given.has(key) ? '' : ' (the default)'}, but ${what}` }];
  });
  const problems = [...ofKeys, ...ofFlags];
  if (problems.length === 0) return;
  const error = configError(
    file,
    problems,
    noData(config.data) === undefined || !keys.includes('data.root') ? 'io' : 'data',
  );
  if (error.code === 'io' || problems.length > 1) throw error;
  throw await withPlaces(config.data, error);
}

type Data = ReadConfig['config']['data'];

function noData(data: Data): string | undefined {
  const { folder } = whereIs(data);
  // image-folder is what data.root names, whether it is there or not
  return folder === null ? (missing(data.root) ?? `${data.name} is not in it`) : missing(folder);
}

/** Where the data set alone is missing, what is said of it names every place that was looked at. */
async function withPlaces(data: Data, error: GqaError): Promise<GqaError> {
  try {
    await openDataset(data);
  } catch (reported) {
    if (reported instanceof GqaError)
      return new GqaError(reported.code, reported.message, {
        hint: [error.message, reported.hint].filter(Boolean).join('\n'),
      });
    throw reported;
  }
  return error;
}
