/**
 * A checkpoint by the path that a user has: one .safetensors file, the index of one in several files
 * (`model.safetensors.index.json`, as transformers and the hub write it), or the folder that either lies in. However
 * many files there are, what comes back reads as one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { openSafetensors, type Safetensors, shown } from './safetensors.js';

const INDEX = '.safetensors.index.json';
/** What transformers, timm and gqa's own runs call the weights in a folder, the first that is there counting. */
const NAMES = [
  'model.safetensors',
  `model${INDEX}`,
  path.join('checkpoints', 'best', 'model.safetensors'),
  'checkpoint.safetensors',
] as const;

const MAX_INDEX_BYTES = 20_000_000;
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/**
 * The file that stands for a checkpoint: of a folder the one in it that holds the weights, else the path itself.
 * @throws GqaError `io` for a folder without weights, or with several that could be meant
 */
export function checkpointFile(at: string): string {
  if (!fs.statSync(at, { throwIfNoEntry: false })?.isDirectory()) return at;
  const named = NAMES.map((name) => path.join(at, name)).find((file) => fs.existsSync(file));
  if (named !== undefined) return named;
  const inside = filesOf(at).filter((name) => name.endsWith('.safetensors') || name.endsWith(INDEX));
  const [only] = inside;
  if (only !== undefined && inside.length === 1) return path.join(at, only);
  const others = filesOf(at).filter((name) => /\.(?:bin|pth|pt|ckpt|npz|h5)$/.test(name));
  const hint =
    inside.length > 1
      ? `Give the one that is meant: ${inside.slice(0, 3).join(', ')}${inside.length > 3 ? ` or another of ${inside.length}` : ''}`
      : others.length > 0
        ? `It holds ${others.slice(0, 3).join(', ')}: save the weights with safetensors.torch.save_file(model.state_dict(), "model.safetensors")`
        : `Looked for ${NAMES.join(', ')} in it.`;
  throw new GqaError(
    'io',
    inside.length > 1 ? `${at} holds ${inside.length} checkpoints` : `${at} is a folder without a checkpoint`,
    { hint },
  );
}

/**
 * Opens a checkpoint, in one file or several; no tensor is loaded.
 * @param at a file or folder
 * @throws GqaError `io` where nothing can be read, or where the index and its files contradict each other
 */
export function openCheckpoint(at: string): Safetensors {
  const file = checkpointFile(at);
  return file.endsWith(INDEX) ? openSharded(file) : openSafetensors(file);
}

/** The union of an index's files: each tensor where the index says, none besides. */
function openSharded(index: string): Safetensors {
  const placed = new Map(Object.entries(readIndex(index).weight_map));
  const wrong = (what: string): GqaError =>
    new GqaError('io', `${index}: ${what}`, { hint: 'Fetch the folder again, whole: its files belong together.' });
  const parts = [...new Set(placed.values())].sort();
  const bad = parts.find((part) => part !== path.basename(part) || !part.endsWith('.safetensors'));
  if (bad !== undefined) throw wrong(`names ${shown(bad)}; expected .safetensors files beside it`);
  const missing = parts.filter((part) => !fs.existsSync(path.join(path.dirname(index), part)));
  if (missing.length > 0)
    throw wrong(`${counted(missing.length, 'file')} of ${parts.length} missing: ${missing.slice(0, 3).join(', ')}`);
  const tensors: Safetensors['tensors'] = new Map();
  let metadata: Safetensors['metadata'] = {};
  for (const part of parts) {
    const opened = openSafetensors(path.join(path.dirname(index), part));
    metadata = { ...metadata, ...opened.metadata };
    for (const [name, entry] of opened.tensors) {
      const at = placed.get(name);
      if (at !== part) throw wrong(`${part} holds ${shown(name)}, which it places in ${at ?? 'no file'}`);
      tensors.set(name, entry);
    }
  }
  const lost = [...placed].find(([name]) => !tensors.has(name));
  if (lost !== undefined) throw wrong(`places ${shown(lost[0])} in ${lost[1]}, which does not hold it`);
  return { path: index, metadata, tensors };
}

function readIndex(file: string): z.output<typeof indexSchema> {
  const wrong = (why: string, cause?: unknown): GqaError =>
    new GqaError('io', `${file} is no index of a checkpoint: ${why}`, {
      cause,
      hint: 'Expected {"weight_map": {tensor: file, …}}, as transformers writes it.',
    });
  let bytes: number;
  try {
    bytes = fs.statSync(file).size;
  } catch (cause) {
    throw wrong((cause as NodeJS.ErrnoException).code ?? 'unreadable', cause);
  }
  if (bytes > MAX_INDEX_BYTES) throw wrong(`it has ${bytes} bytes`);
  try {
    return indexSchema.parse(JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch (cause) {
    throw wrong(
      cause instanceof z.ZodError ? 'it has no weight_map from text to text' : (cause as Error).message,
      cause,
    );
  }
}

function filesOf(folder: string): string[] {
  try {
    return fs.readdirSync(folder).sort();
  } catch {
    return []; // it is refused in any case; what lies in it would only help
  }
}
