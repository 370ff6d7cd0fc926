/**
 * One file over HTTP into a `.part` file: goes on where an earlier call stopped (Range, If-Range), tries again after
 * cuts, and hashes what comes while it comes. Built on node:http rather than fetch, which unpacks bodies that a server
 * labels `Content-Encoding: gzip`: the checksum is of the archive as it lies on the server.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { GqaError } from '../../errors.js';
import { fileError } from '../../files/atomic.js';
import type { Download } from './catalogue.js';

export interface DownloadWatch {
  /** @param done bytes that are in the file */
  progress(done: number): void;
  /** Something a user wants to know though it goes on. */
  notice(line: string): void;
  signal?: AbortSignal | undefined;
}

/** How patient it is; tests are in more of a hurry. */
export interface Patience {
  /** Without any byte for so long, a connection counts as cut. */
  stallMs: number;
  /** Before each further try. A byte that comes begins the list anew. */
  delaysMs: readonly number[];
}

export const patience: Patience = { stallMs: 30_000, delaysMs: [1000, 2000, 4000, 8000, 16_000] };

/** A server that asks for more time gets no more than this. */
const MAX_RETRY_AFTER_MS = 60_000;
const MAX_REDIRECTS = 5;
/** What is looked at before a body is taken for an archive. */
const HEAD_BYTES = 512;

const SIGNATURES = { gzip: '1f8b', zip: '504b0304' };
const signatureOf = (file: string): keyof typeof SIGNATURES => (file.endsWith('.zip') ? 'zip' : 'gzip');

/** No network, no such host, or none that can be trusted: nothing that a second try would change. */
const UNREACHABLE = /^(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH)$/;
const UNTRUSTED = /CERT|^ERR_TLS|^ERR_SSL|^EPROTO$/;

/** Kept beside a `.part`, so that a later call knows what it would go on with. */
interface PartState {
  url: string;
  /** A strong ETag, or Last-Modified: what If-Range takes. */
  validator: string | null;
}

/** The file being written, and the hash of what is in it. */
interface Part {
  path: string;
  handle: FileHandle;
  have: number;
  hash: Hash;
}

/** Why to try again, and when at the earliest; null: it is whole. */
type Attempt = { reason: string; afterMs?: number } | null;

export const algorithmOf = (wanted: Pick<Download, 'sha256'>): 'sha256' | 'md5' =>
  wanted.sha256 === null ? 'md5' : 'sha256';

/**
 * Brings `wanted` from `url` to the file `path`, or what is still missing of it, and compares the checksum. A file of
 * another checksum is removed. Errors: exit 3 for content that is not what was wanted, exit 4 for a host that cannot be
 * reached, refuses or breaks off for good, exit 5 when the file cannot be written (it stays, to go on from); the
 * signal's reason when aborted (it stays too).
 */
export async function download(
  url: string,
  wanted: Download,
  path: string,
  watch: DownloadWatch,
  patient: Patience,
): Promise<void> {
  const part = await openPart(path, wanted, watch);
  try {
    for (let failures = 0; part.have < wanted.bytes; ) {
      const before = part.have;
      const attempt = await attemptOnce(url, wanted, part, watch, patient.stallMs);
      if (attempt === null) break;
      failures = part.have > before ? 1 : failures + 1;
      const delay = patient.delaysMs[failures - 1];
      if (delay === undefined) {
        throw new GqaError(
          'environment',
          `${url}: given up after ${failures} tries: ${attempt.reason}; ${part.have} of ${wanted.bytes} bytes are in ${path}`,
          {
            hint: `The same command goes on from there. ${otherWays}`,
          },
        );
      }
      const wait = Math.min(MAX_RETRY_AFTER_MS, Math.max(delay, attempt.afterMs ?? 0));
      watch.notice(
        `${attempt.reason}; ${part.have} of ${wanted.bytes} bytes are there, trying again in ${(wait / 1000).toFixed(wait < 1000 ? 1 : 0)} s`,
      );
      await sleep(wait, undefined, { signal: watch.signal });
    }
    await onPart(part, () => part.handle.sync());
  } finally {
    await part.handle.close();
    if (part.have === 0) removePart(path);
  }
  const found = part.hash.digest('hex');
  const algorithm = algorithmOf(wanted);
  if (found !== wanted[algorithm]) {
    removePart(path);
    throw new GqaError(
      'data',
      `${url}: the ${algorithm.toUpperCase()} is ${found}, expected ${wanted[algorithm]}; the download was removed`,
      {
        hint: `It was damaged on its way, or is another version. Run the same command again; should it happen twice, ${otherWays.toLowerCase()}`,
      },
    );
  }
}

const otherWays = 'Try --mirror URL for another place that has the file, or --offline to see what to place where.';

/** Removes a `.part` and what is known about it. */
export function removePart(path: string): void {
  for (const file of [path, statePath(path)]) rmSync(file, { force: true });
}

const statePath = (path: string): string => `${path}.json`;

/** The checksum of a file that is there. */
export async function checksum(path: string, algorithm: 'sha256' | 'md5', signal?: AbortSignal): Promise<Hash> {
  const hash = createHash(algorithm);
  try {
    for await (const chunk of createReadStream(path, {
      highWaterMark: 2 ** 20,
      ...(signal === undefined ? {} : { signal }),
    }))
      hash.update(chunk);
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw fileError(`cannot read ${path}`, cause);
  }
  return hash;
}

async function openPart(path: string, wanted: Download, watch: DownloadWatch): Promise<Part> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'a+').then(async (made) => {
      await made.close();
      return open(path, 'r+'); // 'a+' would write at the end whatever the position, and could not begin anew
    });
  } catch (cause) {
    throw fileError(`cannot write ${path}`, cause);
  }
  const { size } = await handle.stat();
  const part = { path, handle, have: size, hash: createHash(algorithmOf(wanted)) };
  if (size > wanted.bytes) await beginAnew(part, wanted);
  else if (size > 0) {
    part.hash = await checksum(path, algorithmOf(wanted), watch.signal);
    watch.notice(`${path} holds ${size} of ${wanted.bytes} bytes: going on from there`);
  }
  return part;
}

async function beginAnew(part: Part, wanted: Download): Promise<void> {
  await onPart(part, () => part.handle.truncate(0));
  part.have = 0;
  part.hash = createHash(algorithmOf(wanted));
}

async function onPart<T>(part: Part, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    const { message, hint } = fileError(`cannot write ${part.path}`, cause);
    throw new GqaError('io', message, {
      hint: `${hint ?? ''} The same command goes on from the ${part.have} bytes that are there.`.trim(),
      cause,
    });
  }
}

/** One request, from where the file ends. */
async function attemptOnce(
  url: string,
  wanted: Download,
  part: Part,
  watch: DownloadWatch,
  stallMs: number,
): Promise<Attempt> {
  let response: http.IncomingMessage;
  try {
    response = await request(url, rangeHeaders(url, part), stallMs, watch.signal);
  } catch (cause) {
    if (cause instanceof GqaError || watch.signal?.aborted === true) throw cause;
    const { code = '', message } = cause as NodeJS.ErrnoException;
    if (UNTRUSTED.test(code) || (part.have === 0 && UNREACHABLE.test(code))) throw unreachable(url, code, message);
    return { reason: `${new URL(url).host}: ${message || code}` };
  }
  try {
    const status = response.statusCode ?? 0;
    if (status === 408 || status === 429 || status >= 500) {
      return { reason: `${new URL(url).host} answered ${describeStatus(response)}`, afterMs: retryAfterMs(response) };
    }
    if (status === 416 || (status === 206 && !continues(response, part.have, wanted.bytes))) {
      await beginAnew(part, wanted);
      return {
        reason: `${new URL(url).host} has not the rest of this file (${describeStatus(response)}), beginning anew`,
      };
    }
    if (status !== 200 && status !== 206) {
      throw new GqaError('environment', `${url}: the server answered ${describeStatus(response)}`, { hint: otherWays });
    }
    if (status === 200 && part.have > 0) {
      watch.notice(
        `${new URL(url).host} sends the file from its beginning: it cannot go on, or the file has changed there`,
      );
      await beginAnew(part, wanted);
    }
    return await receive(url, response, wanted, part, watch);
  } finally {
    response.destroy();
  }
}

async function receive(
  url: string,
  response: http.IncomingMessage,
  wanted: Download,
  part: Part,
  watch: DownloadWatch,
): Promise<Attempt> {
  const write = async (chunk: Buffer): Promise<void> => {
    if (part.have === 0) {
      checkHead(url, response, wanted, chunk);
      keepState(part.path, { url, validator: validatorOf(response) });
    }
    if (part.have + chunk.length > wanted.bytes) throw otherSize(url, wanted, `more than ${wanted.bytes}`);
    for (let at = 0; at < chunk.length; ) {
      const { bytesWritten } = await onPart(part, () => part.handle.write(chunk, at, chunk.length - at, part.have));
      part.hash.update(chunk.subarray(at, at + bytesWritten));
      at += bytesWritten;
      part.have += bytesWritten;
    }
    watch.progress(part.have);
  };
  const fromStart = part.have === 0;
  let head = Buffer.alloc(0);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (!fromStart || part.have > 0) await write(chunk);
      else {
        head = Buffer.concat([head, chunk]);
        if (head.length >= HEAD_BYTES) await write(head);
      }
    }
    if (fromStart && part.have === 0) await write(head);
  } catch (cause) {
    if (cause instanceof GqaError || watch.signal?.aborted === true) throw cause;
    // What is not the file's beginning is not kept: the next try asks for all of it.
    return {
      reason: `${new URL(url).host}: the connection was cut (${cause instanceof Error ? cause.message : String(cause)})`,
    };
  }
  return part.have === wanted.bytes ? null : { reason: `${new URL(url).host}: the answer ended early` };
}

/** Says what came instead of an archive, before a byte of it is kept. */
function checkHead(url: string, response: http.IncomingMessage, wanted: Download, head: Buffer): void {
  const expected = signatureOf(wanted.file);
  if (!head.toString('hex', 0, 4).startsWith(SIGNATURES[expected])) {
    throw new GqaError(
      'data',
      `${url}: what came is ${describeContent(head)}; expected a ${expected} file of ${wanted.bytes} bytes. Nothing of it was kept`,
      {
        hint: `A log-in page, a proxy or a notice that the file has moved looks like this: open the address in a browser. ${otherWays}`,
      },
    );
  }
  const said = response.headers['content-length'];
  if (said !== undefined && Number(said) !== wanted.bytes) throw otherSize(url, wanted, said);
}

function otherSize(url: string, wanted: Download, found: string): GqaError {
  return new GqaError('data', `${url} has ${found} bytes; expected ${wanted.bytes}: it is another file or version`, {
    hint: otherWays,
  });
}

function describeContent(head: Buffer): string {
  if (head.length === 0) return 'empty';
  const text = head.toString('utf8');
  const title = /<title[^>]*>\s*([^<]{1,120})/i.exec(text)?.[1]?.trim();
  if (/<(!doctype html|html|head|body)[\s>]/i.test(text))
    return `an HTML page${title === undefined ? '' : ` titled ${JSON.stringify(title)}`}`;
  if (/^\s*<\?xml|^\s*<Error>/.test(text)) return `XML beginning with ${JSON.stringify(text.trim().slice(0, 80))}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: text has none but tabs and line ends
  if (!/[\x00-\x08\x0e-\x1f\ufffd]/.test(text.slice(0, 200)))
    return `text beginning with ${JSON.stringify(text.trim().slice(0, 80))}`;
  return `of an unknown kind (its first bytes are ${head.toString('hex', 0, 8)})`;
}

function rangeHeaders(url: string, part: Part): Record<string, string> {
  if (part.have === 0) return {};
  const state = readState(part.path);
  // From another address than before nothing but the checksum tells whether the rest fits: an If-Range of the first one
  // would only make it begin anew.
  const validator = state?.url === url ? state.validator : null;
  return { range: `bytes=${part.have}-`, ...(validator === null ? {} : { 'if-range': validator }) };
}

/** Whether a 206 brings what comes next in a file of the size wanted. */
function continues(response: http.IncomingMessage, have: number, bytes: number): boolean {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '') ?? [];
  return Number(start) === have && (total === '*' || Number(total) === bytes);
}

function validatorOf({ headers }: http.IncomingMessage): string | null {
  if (headers.etag?.startsWith('"') === true) return headers.etag;
  return headers['last-modified'] ?? null;
}

function readState(path: string): PartState | null {
  try {
    const state = JSON.parse(readFileSync(statePath(path), 'utf8')) as Partial<PartState>;
    return typeof state.url === 'string'
      ? { url: state.url, validator: typeof state.validator === 'string' ? state.validator : null }
      : null;
  } catch {
    return null; // of another hand, or cut by a crash: without it there is no If-Range, and the checksum decides
  }
}

function keepState(path: string, state: PartState): void {
  try {
    writeFileSync(statePath(path), JSON.stringify(state));
  } catch (cause) {
    throw fileError(`cannot write ${statePath(path)}`, cause);
  }
}

/** The answer to a GET, after redirects. Never from https to http: who listens could send what they like. */
async function request(
  url: string,
  headers: Record<string, string>,
  stallMs: number,
  signal: AbortSignal | undefined,
): Promise<http.IncomingMessage> {
  let at = new URL(url);
  for (let redirects = 0; ; redirects++) {
    const response = await get(at, headers, stallMs, signal);
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined) return response;
    response.destroy();
    if (redirects === MAX_REDIRECTS)
      throw new GqaError('environment', `${url}: more than ${MAX_REDIRECTS} redirects, the last to ${location}`, {
        hint: otherWays,
      });
    at = redirected(at, location);
  }
}

/** Where a redirect leads. Errors: exit 4 from https to anything less. */
export function redirected(at: URL, location: string): URL {
  const next = new URL(location, at);
  if (at.protocol !== 'https:' || next.protocol === 'https:') return next;
  throw new GqaError(
    'environment',
    `${at.href} redirects to ${next.href}: from https to ${next.protocol.slice(0, -1)} is refused`,
    {
      hint: otherWays,
    },
  );
}

function get(
  url: URL,
  headers: Record<string, string>,
  stallMs: number,
  signal: AbortSignal | undefined,
): Promise<http.IncomingMessage> {
  const client = { 'http:': http, 'https:': https }[url.protocol];
  if (client === undefined) {
    throw new GqaError('usage', `${url.href} is of no kind that is fetched; expected http:// or https://`);
  }
  return new Promise((resolve, reject) => {
    const asked = client.get(url, {
      headers: { 'accept-encoding': 'identity', 'user-agent': 'gqa', ...headers },
      timeout: stallMs,
      agent: false,
      ...(signal === undefined ? {} : { signal }),
    });
    asked.on('response', (response) => {
      asked.on('timeout', () => response.destroy(silent));
      resolve(response);
    });
    const silent = new Error(`nothing came for ${stallMs / 1000} s`);
    asked.on('timeout', () => asked.destroy(silent));
    asked.on('error', reject);
  });
}

function unreachable(url: string, code: string, message: string): GqaError {
  const { host } = new URL(url);
  const proxy = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'].find((name) => process.env[name]);
  const aside =
    proxy === undefined
      ? ''
      : ` ${proxy} is set, but downloads do not go through a proxy: fetch the file with a program that does, and place it (--offline).`;
  return new GqaError(
    'environment',
    `${host} cannot be reached${UNTRUSTED.test(code) ? ' safely' : ''}: ${message || code}`,
    {
      hint: `${otherWays}${aside}`,
    },
  );
}

const describeStatus = ({ statusCode, statusMessage }: http.IncomingMessage): string =>
  `${statusCode} ${statusMessage ?? ''}`.trim();

function retryAfterMs({ headers }: http.IncomingMessage): number {
  const after = headers['retry-after'];
  if (after === undefined) return 0;
  const seconds = /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : 0;
}
