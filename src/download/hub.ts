/**
 * Weights from the Hugging Face hub, into its usual cache: resumed after a cut, checked by SHA-256 (large files) or
 * Git's hash (small ones). The protocol: HEAD and GET of `ENDPOINT/OWNER/NAME/resolve/REVISION/FILE`, whose answers name
 * the commit, the size and the ETag. Source: huggingface_hub, file_download.py (get_hf_file_metadata). Written here and
 * not with `@huggingface/hub`, for the reasons in docs/dependencies.md.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { GqaError } from '../errors.js';
import { fileError } from '../files/atomic.js';
import { claim } from '../files/lock.js';
import { requireFree } from '../files/space.js';
import { describeStatus } from './answer.js';
import { download, type Patience, patience, request, unreachable } from './download.js';
import { CachedModel, type HubModel, hubPlaces, inWords, isOffline } from './hub-cache.js';
import { removePart } from './part.js';

export interface HubWatch {
  progress(label: string, totalBytes: number, from: number): { update(done: number): void; stop(): void };
  notice(line: string): void;
  signal?: AbortSignal | undefined;
}

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** What beside the weights says how the model is built and what its images are. */
const BESIDE = ['config.json', 'preprocessor_config.json'];

/** What the hub says of a file. */
interface RemoteFile {
  name: string;
  commit: string;
  etag: string;
  bytes: number;
}

interface Hub {
  model: HubModel;
  endpoint: string;
  token: string | null;
  patient: Patience;
  watch: HubWatch;
}

/**
 * The folder of a model's files, fetched where they are not there yet. What the cache has is taken without asking the
 * hub whether its branch moved on, so that a study does not change under its author: `@COMMIT` or `@BRANCH` says
 * otherwise.
 * @throws GqaError `environment` when the hub cannot be reached, refuses or has no such model or no safetensors file of
 *   it, or when the work is offline and the cache has it not; `data` for damaged content; `io` for the disk
 */
export async function fetchModel(
  model: HubModel,
  watch: HubWatch,
  env: NodeJS.ProcessEnv = process.env,
  patient: Patience = patience,
): Promise<{ folder: string; commit: string }> {
  const { cache, endpoint, token } = hubPlaces(env);
  const cached = new CachedModel(cache, model);
  const known = cached.commit();
  if (known !== null && isWhole(cached.snapshot(known))) return { folder: cached.snapshot(known), commit: known };
  if (isOffline(env))
    throw new GqaError('environment', `${inWords(model)} is not in ${cache}, and HF_HUB_OFFLINE forbids to fetch it`, {
      hint: `Where there is a network: hf download ${model.id}${model.revision === 'main' ? '' : ` --revision ${model.revision}`}, then copy ${cached.folder} here.`,
    });
  try {
    mkdirSync(path.join(cached.folder, 'blobs'), { recursive: true });
  } catch (cause) {
    throw fileError(`cannot write ${cached.folder}`, cause);
  }
  const lock = claim(
    path.join(cached.folder, '.gqa-fetch.lock'),
    ({ pid }) => new GqaError('io', `process ${pid} is fetching ${inWords(model)} already`, { hint: 'Wait for it.' }),
  );
  try {
    return await fetched(cached, { model, endpoint, token, patient, watch });
  } finally {
    lock.release();
  }
}

async function fetched(cached: CachedModel, hub: Hub): Promise<{ folder: string; commit: string }> {
  const { model, watch } = hub;
  const weights = (await remoteFile(hub, WEIGHTS)) ?? (await remoteFile(hub, INDEX));
  if (weights === null)
    throw new GqaError('environment', `${inWords(model)} has no ${WEIGHTS} on the hub`, {
      hint: `Save its weights as that: in Python, AutoModelForImageClassification.from_pretrained("${model.id}").save_pretrained(FOLDER), and give the folder.`,
    });
  const { commit } = weights;
  // from here on the commit, so that files of two states never meet
  const pinned = { ...hub, model: { ...model, revision: commit } };
  watch.notice(`${inWords(model)} is commit ${commit}`);
  for (const name of BESIDE) {
    const file = await remoteFile(pinned, name);
    if (file !== null) await bring(cached, file, pinned);
  }
  await bring(cached, weights, pinned);
  for (const name of weights.name === INDEX ? partsIn(path.join(cached.snapshot(commit), INDEX)) : []) {
    const part = await remoteFile(pinned, name);
    if (part === null) throw new GqaError('data', `${inWords(model)}: its index names ${name}, which the hub has not`);
    await bring(cached, part, pinned);
  }
  cached.refer(commit);
  return { folder: cached.snapshot(commit), commit };
}

/** Whether weights are there in all their parts. */
function isWhole(snapshot: string): boolean {
  if (existsSync(path.join(snapshot, WEIGHTS))) return true;
  const index = path.join(snapshot, INDEX);
  return existsSync(index) && partsIn(index).every((part) => existsSync(path.join(snapshot, part)));
}

/** Names of files, none of which leads out of the folder. */
function partsIn(index: string): string[] {
  const wrong = (cause?: unknown): GqaError =>
    new GqaError('data', `${index} is no index of safetensors files`, { cause });
  let parts: unknown[];
  try {
    const { weight_map: placed } = JSON.parse(readFileSync(index, 'utf8')) as { weight_map: Record<string, unknown> };
    parts = [...new Set(Object.values(placed))];
  } catch (cause) {
    throw wrong(cause);
  }
  if (!parts.every((part): part is string => typeof part === 'string' && /^[\w.-]+\.safetensors$/.test(part)))
    throw wrong();
  return parts;
}

const addressOf = ({ endpoint, model: { id, revision } }: Hub, name: string): string =>
  `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${name}`;

const authorizationOf = ({ token }: Hub): string | undefined => (token === null ? undefined : `Bearer ${token}`);

const OTHERWISE =
  'HF_ENDPOINT names another place that speaks the hub’s protocol; a file or folder can be given instead.';

/** What the hub says of a file; null: it has none of that name. */
async function remoteFile(hub: Hub, name: string): Promise<RemoteFile | null> {
  const url = addressOf(hub, name);
  const { host } = new URL(url);
  let response: Awaited<ReturnType<typeof request>>;
  try {
    response = await request(url, {
      method: 'HEAD',
      authorization: authorizationOf(hub),
      otherwise: OTHERWISE,
      stallMs: hub.patient.stallMs,
      signal: hub.watch.signal,
      stopAt: (next) => next.host !== host, // the answer that leads elsewhere says it all
    });
  } catch (cause) {
    if (cause instanceof GqaError || hub.watch.signal?.aborted === true) throw cause;
    const { code = '', message } = cause as NodeJS.ErrnoException;
    throw unreachable(url, code, message, OTHERWISE);
  }
  response.destroy();
  const { headers, statusCode = 0 } = response;
  if (statusCode === 404 && headers['x-error-code'] === 'EntryNotFound') return null;
  if (statusCode >= 400)
    throw refusal(hub, url, statusCode, String(headers['x-error-code'] ?? ''), describeStatus(response));
  const etag = String(headers['x-linked-etag'] ?? headers.etag ?? '')
    .replace(/^W\//, '')
    .replaceAll('"', '');
  const bytes = Number(headers['x-linked-size'] ?? headers['content-length']);
  const commit = String(headers['x-repo-commit'] ?? '');
  if (!/^[\w-]+$/.test(etag) || !Number.isSafeInteger(bytes) || !/^[0-9a-f]{40}$/.test(commit))
    throw new GqaError('environment', `${url}: the answer is not of a hub: no commit, ETag or size in it`, {
      hint: OTHERWISE,
    });
  return { name, commit, etag, bytes };
}

/** Why the hub does not give a model. */
function refusal({ model, token, endpoint }: Hub, url: string, status: number, code: string, words: string): GqaError {
  const login = `${token === null ? 'No token was found' : 'The token is not one that may read it'}: HF_TOKEN, or the file that hf auth login writes.`;
  const [what, hint] =
    code === 'RevisionNotFound'
      ? [`has no revision ${model.revision}`, 'Give a branch, tag or commit of it behind @.']
      : code === 'GatedRepo'
        ? ['is given only to those who asked its owner', `Ask at ${endpoint}/${model.id}. ${login}`]
        : status === 401 || status === 403
          ? ['is not there, or not for everyone', `Check the name. ${login}`]
          : code === 'RepoNotFound' || status === 404
            ? ['is not there', `Check the name: ${endpoint}/${model.id}`]
            : ['cannot be asked for now', OTHERWISE];
  return new GqaError('environment', `${inWords(model)} ${what} (${url}: ${words})`, { hint });
}

/** Fetches a file unless its content is there already. */
async function bring(cached: CachedModel, { name, commit, etag, bytes }: RemoteFile, hub: Hub): Promise<void> {
  const blob = cached.blob(etag);
  if (!existsSync(blob)) {
    const part = `${blob}.incomplete`;
    const { watch, patient } = hub;
    requireFree(cached.folder, bytes, `${name} of ${hub.model.id}`);
    const url = addressOf(hub, name);
    const wanted = { url, file: name, bytes, md5: null, sha256: etag.length === 64 ? etag : null };
    const bar = watch.progress(`fetching ${name}`, bytes, 0);
    try {
      await download(
        url,
        { ...wanted, authorization: authorizationOf(hub), otherwise: OTHERWISE },
        part,
        { progress: bar.update, notice: watch.notice, signal: watch.signal },
        patient,
      );
    } finally {
      bar.stop();
    }
    if (etag.length === 40 && gitHash(part) !== etag) {
      removePart(part);
      throw new GqaError('data', `${url}: the content has another hash than the hub says; it was removed`, {
        hint: 'Run the same command again.',
      });
    }
    renameSync(part, blob);
    removePart(part); // what is known about it
  }
  cached.place(etag, commit, name);
}

/** Git's hash of a file's content. */
function gitHash(file: string): string {
  const content = readFileSync(file);
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}
