/**
 * Where Hugging Face's programs keep what they fetched, and how: `models--OWNER--NAME/` with the bytes in `blobs/`, by
 * ETag, one folder of links for each commit in `snapshots/`, and the commits that branches stood at in `refs/`. What
 * Python's library fetched is found here, and the other way round. Source: huggingface_hub, file_download.py and
 * constants.py.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { writeFileAtomic } from '../files/atomic.js';

/** A model of the hub: `owner/name`, and a branch, tag or commit. */
export interface HubModel {
  id: string;
  revision: string;
}

const PART = String.raw`[A-Za-z0-9][\w.-]*`;
const ID = new RegExp(`^(?:hf[-_]hub:|hf://)?(${PART}/${PART})(?:@([\\w./-]+))?$`);

/** @returns null for what is no id: a path with another number of parts, or with the ending of a file */
export function hubModel(text: string): HubModel | null {
  const [, id, revision = 'main'] = ID.exec(text) ?? [];
  if (id === undefined || /\.(?:safetensors|json|bin|pth|pt|ckpt|npz|h5|onnx)$/i.test(id)) return null;
  return revision.includes('..') ? null : { id, revision };
}

export const inWords = ({ id, revision }: HubModel): string => (revision === 'main' ? id : `${id}@${revision}`);

/** The places that Hugging Face's programs take from the environment. */
export function hubPlaces(env: NodeJS.ProcessEnv): { cache: string; endpoint: string; token: string | null } {
  const home = env.HF_HOME ?? path.join(env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'huggingface');
  const cache = env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? path.join(home, 'hub');
  const endpoint = (env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '');
  const given = env.HF_TOKEN ?? env.HUGGING_FACE_HUB_TOKEN;
  return { cache, endpoint, token: given?.trim() || tokenIn(env.HF_TOKEN_PATH ?? path.join(home, 'token')) };
}

export const isOffline = (env: NodeJS.ProcessEnv): boolean =>
  [env.HF_HUB_OFFLINE, env.TRANSFORMERS_OFFLINE].some((value) => /^(?:1|on|yes|true)$/i.test(value ?? ''));

function tokenIn(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim() || null;
  } catch {
    return null; // nobody logged in here
  }
}

const COMMIT = /^[0-9a-f]{40}$/;

/** A model's folder in the cache. */
export class CachedModel {
  readonly folder: string;
  private readonly revision: string;

  constructor(cache: string, { id, revision }: HubModel) {
    this.folder = path.join(cache, `models--${id.replace('/', '--')}`);
    this.revision = revision;
  }

  /** The commit that the revision stood at when it was fetched; null: it never was. */
  commit(): string | null {
    if (COMMIT.test(this.revision)) return this.revision;
    try {
      const commit = readFileSync(this.refFile(), 'utf8').trim();
      return COMMIT.test(commit) ? commit : null;
    } catch {
      return null;
    }
  }

  /** Says where the revision stands. */
  refer(commit: string): void {
    if (this.revision === commit) return;
    mkdirSync(path.dirname(this.refFile()), { recursive: true });
    writeFileAtomic(this.refFile(), commit);
  }

  snapshot(commit: string): string {
    return path.join(this.folder, 'snapshots', commit);
  }

  blob(etag: string): string {
    return path.join(this.folder, 'blobs', etag);
  }

  /** Puts a file that was fetched in its place in a commit's folder. */
  place(etag: string, commit: string, name: string): void {
    const pointer = path.join(this.snapshot(commit), name);
    mkdirSync(path.dirname(pointer), { recursive: true });
    if (existsSync(pointer)) return;
    rmSync(pointer, { force: true }); // a link to a blob that was taken away
    try {
      symlinkSync(path.relative(path.dirname(pointer), this.blob(etag)), pointer);
    } catch {
      copyFileSync(this.blob(etag), pointer); // a file system without links
    }
  }

  private refFile(): string {
    return path.join(this.folder, 'refs', this.revision);
  }
}
