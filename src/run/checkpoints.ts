/**
 * What a run goes on from: `checkpoints/state/<serial>-step-<N>/` holds `state.safetensors` (all that the trainer holds),
 * `best.safetensors` (the best model so far) and `manifest.json` with sizes and SHA-256; `checkpoints/state/newest` names
 * the one to begin with. A folder is written aside, flushed, and takes its name as a whole: whatever ends the process,
 * those that were there before are whole.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { GqaError } from '../errors.js';
import { type Content, fileError, flushFolder, makeFolder, writeFileAtomic } from '../files/atomic.js';
import { requireFree } from '../files/space.js';

const digestOf = z.strictObject({ bytes: z.number().int(), sha256: z.string() });

const manifestSchema = z.object({
  form: z.literal(1),
  step: z.number().int(),
  /** Seconds that the run has taken so far. */
  elapsed: z.number(),
  /** Bytes of the run's files that grow: what came after is of steps that are done again. null: not there yet. */
  lengths: z.record(z.string(), z.number().int().nullable()),
  files: z.record(z.string(), digestOf),
  /** How far the run is and what its model is, as train/ has it. */
  run: z.record(z.string(), z.unknown()),
});

export type Manifest = z.output<typeof manifestSchema>;

/** What is kept at once. */
export interface KeptState {
  /** checkpoints/state of the run. */
  folder: string;
  /** Checkpoints to keep behind the new one. */
  keep: number;
  /** `state.safetensors`; pieces where another thread writes it. */
  state: Content | Uint8Array[];
  /** Of `state`. */
  bytes: number;
  /** The best model, as it lies in the run's folder; null: there is none yet. */
  best: string | null;
  manifest: Omit<Manifest, 'form' | 'files'>;
}

const NEWEST = 'newest';
const folderName = /^(\d{6})-step-\d+$/;

/** Where a run keeps them. */
export const statesOf = (run: string): string => path.join(run, 'checkpoints', 'state');

/** Names of the checkpoints that are there, the newest first. */
export function checkpointsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => folderName.test(name))
    .sort()
    .reverse();
}

/**
 * @returns its folder.
 * @throws GqaError `io` when it cannot be written, and nothing old is harmed
 */
export function writeState({ folder, keep, state, bytes, best, manifest }: KeptState): string {
  makeFolder(folder);
  dropLeftovers(folder);
  requireFree(folder, bytes, `the checkpoint of step ${manifest.step}`);
  const serial = Number(checkpointsIn(folder)[0]?.slice(0, 6) ?? 0) + 1;
  const name = `${String(serial).padStart(6, '0')}-step-${manifest.step}`;
  const aside = path.join(folder, `.${name}.tmp`);
  try {
    mkdirSync(aside);
    const files: Manifest['files'] = { 'state.safetensors': writeHashed(path.join(aside, 'state.safetensors'), state) };
    if (best !== null) {
      linked(best, path.join(aside, 'best.safetensors'));
      files['best.safetensors'] = hashOf(best);
    }
    const whole: Manifest = { form: 1, ...manifest, files };
    writeHashed(path.join(aside, 'manifest.json'), sealed(whole));
    flushFolder(aside);
    renameSync(aside, path.join(folder, name));
    flushFolder(folder);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    throw error instanceof GqaError
      ? error
      : fileError(`cannot write the checkpoint ${path.join(folder, name)}`, error);
  }
  writeFileAtomic(path.join(folder, NEWEST), `${name}\n`);
  for (const old of checkpointsIn(folder).slice(1 + keep)) remove(path.join(folder, old));
  return path.join(folder, name);
}

/** What a process left that died while it wrote. */
function dropLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) if (/^\..*\.tmp$/.test(name)) remove(path.join(folder, name));
}

/** First out of the list, then away: a part of one must not look like one. */
function remove(folder: string): void {
  const aside = path.join(path.dirname(folder), `.${path.basename(folder).replace(/^\.|\.tmp$/g, '')}.tmp`);
  try {
    if (aside !== folder) renameSync(folder, aside);
    rmSync(aside, { recursive: true, force: true });
  } catch {
    // The next checkpoint tries again; it is only room.
  }
}

/** The same file under a second name where the file system can, else a copy: replacing the first leaves the second. */
export function linked(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

function writeHashed(file: string, content: Content | Uint8Array[]): z.output<typeof digestOf> {
  const hash = createHash('sha256');
  let bytes = 0;
  const handle = openSync(file, 'wx');
  try {
    const write = (piece: Uint8Array): void => {
      hash.update(piece);
      bytes += piece.byteLength;
      for (let offset = 0; offset < piece.byteLength; )
        offset += writeSync(handle, piece, offset, Math.min(piece.byteLength - offset, 2 ** 30));
    };
    if (typeof content === 'function') content(write);
    else if (Array.isArray(content)) content.forEach(write);
    else write(typeof content === 'string' ? Buffer.from(content) : content);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  return { bytes, sha256: hash.digest('hex') };
}

function hashOf(file: string): z.output<typeof digestOf> {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(2 ** 22);
  const handle = openSync(file, 'r');
  let bytes = 0;
  try {
    for (let count = readSync(handle, buffer); count > 0; count = readSync(handle, buffer)) {
      hash.update(buffer.subarray(0, count));
      bytes += count;
    }
  } finally {
    closeSync(handle);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** The manifest with its own SHA-256 in a second line. */
function sealed(manifest: Manifest): string {
  const text = JSON.stringify(manifest);
  return `${text}\n${createHash('sha256').update(text).digest('hex')}\n`;
}

/** @throws Error that says what is wrong with it */
function readManifest(folder: string): Manifest {
  const [text = '', seal] = readFileSync(path.join(folder, 'manifest.json'), 'utf8').split('\n');
  if (createHash('sha256').update(text).digest('hex') !== seal) throw new Error('manifest.json is damaged');
  return manifestSchema.parse(JSON.parse(text));
}

/** A checkpoint whose every byte was looked at. */
export interface GoodState {
  folder: string;
  manifest: Manifest;
  /** What was wrong with newer ones, a line each. */
  passedOver: string[];
}

/** The newest that is whole; null: there is none. */
export function goodState(folder: string): GoodState | null {
  const found = checkpointsIn(folder);
  let named: string | null = null;
  try {
    named = readFileSync(path.join(folder, NEWEST), 'utf8').trim();
  } catch {
    // The order of their names tells as much.
  }
  const passedOver: string[] = [];
  for (const name of [...found.filter((one) => one === named), ...found.filter((one) => one !== named)]) {
    const place = path.join(folder, name);
    try {
      const manifest = readManifest(place);
      for (const [file, { bytes, sha256 }] of Object.entries(manifest.files)) {
        const size = statSync(path.join(place, file)).size;
        if (size !== bytes) throw new Error(`${file} has ${size} bytes, not ${bytes}`);
        if (hashOf(path.join(place, file)).sha256 !== sha256)
          throw new Error(`${file} is damaged: its SHA-256 is another`);
      }
      return { folder: place, manifest, passedOver };
    } catch (error) {
      passedOver.push(`${place}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (passedOver.length > 0)
    throw new GqaError(
      'io',
      `no checkpoint of ${path.dirname(path.dirname(folder))} is whole:\n${passedOver.join('\n')}`,
      {
        hint: 'checkpoints/last/model.safetensors may still be: give it to a new run as model.pretrained.',
      },
    );
  return null;
}
