/**
 * From a line of the catalogue to a folder that its reader opens: download, checksum, unpacking beside the target, one
 * rename. All that is in progress lies in `<root>/.<name>.fetch/`, on the same file system, and goes when it is done;
 * what was placed by hand is read and left alone.
 */
import { existsSync, mkdirSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { download, type Patience, patience } from '../../download/download.js';
import { algorithmOf, checksum } from '../../download/part.js';
import { GqaError } from '../../errors.js';
import { fileError } from '../../files/atomic.js';
import { claim } from '../../files/lock.js';
import { freeBytes } from '../../files/space.js';
import { interruption } from '../../run/interrupt.js';
import type { CatalogueEntry, Download } from '../sets/published.js';
import { type ArchiveKind, type Limits, unpack } from './archive.js';

const otherwise = 'Try --mirror URL for another place that has the file, or --offline to see what to place where.';

/** What is reported while it runs. */
export interface FetchWatch {
  /** @param from how much is done already, which no rate must count */
  progress(label: string, totalBytes: number, from: number): { update(done: number): void; stop(): void };
  notice(line: string): void;
  /** Its reason is the name of the signal that ended the call. */
  signal?: AbortSignal;
}

export interface FetchOptions {
  /** `data.root`: the folder below which data sets lie. Made when it is not there. */
  root: string;
  /** Where the files are instead: the folder's address, or for a single file its own. */
  mirror?: string | undefined;
  /** Use what was placed by hand, or tell what is needed; no connection is made. */
  offline: boolean;
  patient?: Patience;
  /** Bytes free where `folder` lies. */
  freeBytes?: (folder: string) => number;
}

/** A file to bring to `place` by other means. */
export interface Needed {
  url: string;
  place: string;
  bytes: number;
  sha256: string | null;
  md5: string;
}

export type Fetched =
  | { state: 'present' | 'installed'; folder: string }
  | { state: 'needed'; folder: string; files: Needed[] };

/** Unpacked files take whole blocks; what a file takes beyond its bytes, at most, on common file systems. */
const BLOCK_BYTES = 4096;

/**
 * Brings a data set into `<root>/<entry.folder>`, or finds that it is there. Either all of it stands there afterwards,
 * or nothing of it. Errors: exit 3 for content that is not the official one, or a folder that holds only a part; exit 4
 * for the network; exit 5 for the disk; the interruption when stopped, with what was downloaded kept.
 */
export async function fetchDataset(
  name: string,
  entry: CatalogueEntry,
  options: FetchOptions,
  watch: FetchWatch,
): Promise<Fetched> {
  const root = resolve(options.root);
  const folder = join(root, entry.folder);
  const missing = missingIn(folder, entry);
  if (missing.length === 0) return { state: 'present', folder };
  const files = entry.downloads.map((wanted) => ({
    wanted,
    url: addressOf(wanted, options.mirror),
    placed: placeOf(root, entry, wanted),
  }));
  const absent = files.filter(({ placed }) => !existsSync(placed));
  if (options.offline && absent.length > 0) {
    const needed = absent.map(({ wanted: { bytes, sha256, md5 }, url, placed }) => ({
      url,
      place: placed,
      bytes,
      sha256,
      md5,
    }));
    return { state: 'needed', folder, files: needed };
  }
  if (existsSync(folder)) {
    throw new GqaError('data', `${folder} is there, but has no ${missing.join(', ')}`, {
      hint: 'Complete it (--offline tells what is needed), or move it away and run the command again: nothing of it is touched.',
    });
  }

  const work = join(root, `.${name}.fetch`);
  onDisk(`cannot make ${work}`, () => mkdirSync(work, { recursive: true }));
  const lock = join(work, 'lock');
  const { release } = claim(lock, ({ pid }) => beingFetched(lock, work, pid));
  try {
    checkSpace(work, entry, files, options.freeBytes ?? freeBytes);
    const sources: Source[] = [];
    for (const { wanted, url, placed } of files) {
      const part = join(work, `${wanted.file}.part`);
      const path = existsSync(placed) ? placed : part;
      if (path === placed) await checkPlaced(placed, wanted, watch);
      else await downloadOne(url, wanted, part, options, watch);
      sources.push({ wanted, path });
    }
    await install(entry, sources, join(work, 'unpacked'), folder, watch);
    rmSync(work, { recursive: true, force: true });
  } catch (cause) {
    release();
    removeEmpty(work);
    if (watch.signal?.aborted === true) throw stopped(work, watch.signal);
    throw cause;
  }
  release();
  return { state: 'installed', folder };
}

/** A file whose checksum was right. */
interface Source {
  wanted: Download;
  path: string;
}

/** What `entry.holds` names and `folder` lacks. */
export function missingIn(folder: string, { holds }: CatalogueEntry): string[] {
  return holds.filter((file) => !existsSync(join(folder, file)));
}

/** An archive is placed in root; a file that stays as it is, in its folder at once. */
function placeOf(root: string, entry: CatalogueEntry, wanted: Download): string {
  return wanted.unpack === null ? join(root, entry.folder, wanted.file) : join(root, wanted.file);
}

/** Errors: exit 2 for a mirror that is no address. */
function addressOf({ url, file }: Download, mirror: string | undefined): string {
  if (mirror === undefined) return url;
  if (!/^https?:\/\/[^/]/.test(mirror) || !URL.canParse(mirror)) {
    throw new GqaError(
      'usage',
      `--mirror is ${JSON.stringify(mirror)}; expected the address of a folder that holds ${file}, as https://host/folder`,
    );
  }
  const base = mirror.replace(/\/+$/, '');
  return base.endsWith(`/${file}`) ? base : `${base}/${file}`;
}

async function downloadOne(
  url: string,
  wanted: Download,
  part: string,
  options: FetchOptions,
  watch: FetchWatch,
): Promise<void> {
  const have = existsSync(part) ? statSync(part).size : 0;
  const bar = watch.progress(`fetching ${wanted.file}`, wanted.bytes, have);
  try {
    const { notice, signal } = watch;
    await download(
      url,
      { ...wanted, otherwise },
      part,
      { progress: bar.update, notice, signal },
      options.patient ?? patience,
    );
  } finally {
    bar.stop();
  }
}

/** A file of another size or checksum is refused, and stays where its owner put it. */
async function checkPlaced(path: string, wanted: Download, watch: FetchWatch): Promise<void> {
  const { size } = onDisk(`cannot read ${path}`, () => statSync(path));
  const algorithm = algorithmOf(wanted);
  const found = size === wanted.bytes ? (await checksum(path, algorithm, watch.signal)).digest('hex') : `${size} bytes`;
  const expected = size === wanted.bytes ? wanted[algorithm] : `${wanted.bytes} bytes`;
  if (found !== expected) {
    throw new GqaError(
      'data',
      `${path} is not the official file: it has ${size === wanted.bytes ? `the ${algorithm.toUpperCase()} ` : ''}${found}, expected ${expected}`,
      {
        hint: 'Get it afresh, or move it away and run the command without --offline.',
      },
    );
  }
  watch.notice(`${path}: checksum right`);
}

/** Unpacks below `staging`, looks whether all is there, and puts it in its place in one step. */
async function install(
  entry: CatalogueEntry,
  sources: readonly Source[],
  staging: string,
  folder: string,
  watch: FetchWatch,
): Promise<void> {
  rmSync(staging, { recursive: true, force: true }); // of a call that was killed
  try {
    const ready = join(staging, entry.folder);
    for (const { wanted, path } of sources) {
      if (wanted.unpack !== null)
        await unpackOne(path, wanted, wanted.unpack, entry.wrapped ? staging : ready, entry, watch);
      else {
        onDisk(`cannot move ${path} to ${ready}`, () => {
          mkdirSync(ready, { recursive: true });
          renameSync(path, join(ready, wanted.file));
        });
      }
    }
    const missing = missingIn(ready, entry);
    if (missing.length > 0) {
      throw new GqaError(
        'data',
        `${sources.map(({ wanted }) => wanted.file).join(', ')} unpacked, but ${entry.folder}/ has no ${missing.join(', ')}`,
      );
    }
    watch.signal?.throwIfAborted();
    onDisk(`cannot move ${ready} to ${folder}`, () => renameSync(ready, folder));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function unpackOne(
  path: string,
  wanted: Download,
  kind: ArchiveKind,
  into: string,
  entry: CatalogueEntry,
  watch: FetchWatch,
): Promise<void> {
  const bar = watch.progress(`unpacking ${wanted.file}`, wanted.bytes, 0);
  try {
    await unpack(path, kind, into, limitsOf(entry), { progress: bar.update, signal: watch.signal });
    bar.update(wanted.bytes);
  } finally {
    bar.stop();
  }
}

/** Half as much again as is known, and ten times the size of the archive: images hardly shrink when packed. */
function limitsOf({ unpacked }: CatalogueEntry): Limits {
  return { bytes: Math.ceil(unpacked.bytes * 1.5), files: Math.ceil(unpacked.files * 1.5) + 100, ratio: 10 };
}

/** Before the first byte: what is still to come, and what it unpacks to. */
function checkSpace(
  work: string,
  entry: CatalogueEntry,
  files: readonly { wanted: Download; placed: string }[],
  free: (folder: string) => number,
): void {
  const toDownload = files
    .filter(({ placed }) => !existsSync(placed))
    .map(({ wanted }) => {
      const part = join(work, `${wanted.file}.part`);
      return Math.max(0, wanted.bytes - (existsSync(part) ? statSync(part).size : 0));
    })
    .reduce((sum, bytes) => sum + bytes, 0);
  const unpacked = entry.unpacked.bytes + entry.unpacked.files * BLOCK_BYTES;
  const found = onDisk(`cannot tell the free space of ${work}`, () => free(work));
  if (found >= toDownload + unpacked) return;
  throw new GqaError(
    'io',
    `${work}: ${megabytes(found)} are free; ${megabytes(toDownload + unpacked)} are needed (${megabytes(toDownload)} to download, about ${megabytes(unpacked)} unpacked)`,
    { hint: 'Free some space, or choose another --root.' },
  );
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Not empty; or it cannot be removed, and the error that led here tells more.
  }
}

function stopped(work: string, signal: AbortSignal): GqaError {
  return interruption(
    signal,
    `; what was downloaded is kept in ${work}, nothing was installed`,
    'The same command goes on from there.',
  );
}

function onDisk<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw cause instanceof GqaError ? cause : fileError(what, cause);
  }
}

const beingFetched = (lock: string, work: string, pid: number): GqaError =>
  new GqaError('io', `process ${Number.isNaN(pid) ? '(unknown)' : pid} is fetching into ${work} already`, {
    hint: `Wait for it. Should there be none, remove ${lock}.`,
  });
