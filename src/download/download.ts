import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { GqaError } from '../errors.js';
import {
  checkHead,
  continues,
  describeStatus,
  HEAD_BYTES,
  MAX_RETRY_AFTER_MS,
  otherSize,
  rangeHeaders,
  retryAfterMs,
  validatorOf,
} from './answer.js';
import { algorithmOf, beginAnew, keepState, onPart, openPart, type Part, removePart } from './part.js';
import type { Wanted } from './wanted.js';

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

const MAX_REDIRECTS = 5;
/** No network, no such host, or none that can be trusted: nothing that a second try would change. */
const UNREACHABLE = /^(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH)$/;
const UNTRUSTED = /CERT|^ERR_TLS|^ERR_SSL|^EPROTO$/;

/** Why to try again, and when at the earliest; null: it is whole. */
type Attempt = { reason: string; afterMs?: number } | null;

/**
 * Brings `wanted` from `url` to the file `path`, or what is still missing of it, and compares the checksum. A file of
 * another checksum is removed. Errors: exit 3 for content that is not what was wanted, exit 4 for a host that cannot be
 * reached, refuses or breaks off for good, exit 5 when the file cannot be written (it stays, to go on from); the
 * signal's reason when aborted (it stays too).
 */
export async function download(
  url: string,
  wanted: Wanted,
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
            hint: `The same command goes on from there. ${wanted.otherwise}`,
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
  if (wanted[algorithm] !== null && found !== wanted[algorithm]) {
    removePart(path);
    throw new GqaError(
      'data',
      `${url}: the ${algorithm.toUpperCase()} is ${found}, expected ${wanted[algorithm]}; the download was removed`,
      {
        hint: `It was damaged on its way, or is another version. Run the same command again; should it happen twice, ${wanted.otherwise.toLowerCase()}`,
      },
    );
  }
}

/** One request, from where the file ends. */
async function attemptOnce(
  url: string,
  wanted: Wanted,
  part: Part,
  watch: DownloadWatch,
  stallMs: number,
): Promise<Attempt> {
  let response: http.IncomingMessage;
  try {
    response = await request(url, { ...wanted, headers: rangeHeaders(url, part), stallMs, signal: watch.signal });
  } catch (cause) {
    if (cause instanceof GqaError || watch.signal?.aborted === true) throw cause;
    const { code = '', message } = cause as NodeJS.ErrnoException;
    if (UNTRUSTED.test(code) || (part.have === 0 && UNREACHABLE.test(code)))
      throw unreachable(url, code, message, wanted.otherwise);
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
      throw new GqaError('environment', `${url}: the server answered ${describeStatus(response)}`, {
        hint: wanted.otherwise,
      });
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
  wanted: Wanted,
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

/** What is asked of a server, and how patiently. */
export interface Asked extends Pick<Wanted, 'authorization' | 'otherwise'> {
  method?: 'GET' | 'HEAD';
  headers?: Record<string, string>;
  stallMs: number;
  signal?: AbortSignal | undefined;
  /** Whether a redirect to this address is answered by it, and not followed. */
  stopAt?: (next: URL) => boolean;
}

/** The answer, after redirects. Never from https to http: who listens could send what they like. */
export async function request(url: string, asked: Asked): Promise<http.IncomingMessage> {
  const first = new URL(url);
  let at = first;
  for (let redirects = 0; ; redirects++) {
    const response = await get(at, asked, at.origin === first.origin ? asked.authorization : undefined);
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined) return response;
    const next = redirected(at, location, asked.otherwise);
    if (asked.stopAt?.(next) === true) return response;
    response.destroy();
    if (redirects === MAX_REDIRECTS)
      throw new GqaError('environment', `${url}: more than ${MAX_REDIRECTS} redirects, the last to ${location}`, {
        hint: asked.otherwise,
      });
    at = next;
  }
}

/** Where a redirect leads. Errors: exit 4 from https to anything less. */
export function redirected(at: URL, location: string, otherwise: string): URL {
  const next = new URL(location, at);
  if (at.protocol !== 'https:' || next.protocol === 'https:') return next;
  throw new GqaError(
    'environment',
    `${at.href} redirects to ${next.href}: from https to ${next.protocol.slice(0, -1)} is refused`,
    {
      hint: otherwise,
    },
  );
}

function get(
  url: URL,
  { method = 'GET', headers, stallMs, signal }: Asked,
  authorization: string | undefined,
): Promise<http.IncomingMessage> {
  const client = { 'http:': http, 'https:': https }[url.protocol];
  if (client === undefined) {
    throw new GqaError('usage', `${url.href} is of no kind that is fetched; expected http:// or https://`);
  }
  return new Promise((resolve, reject) => {
    const asked = client.request(url, {
      method,
      headers: {
        'accept-encoding': 'identity',
        'user-agent': 'gqa',
        ...headers,
        ...(authorization === undefined ? {} : { authorization }),
      },
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
    asked.end();
  });
}

export function unreachable(url: string, code: string, message: string, otherwise: string): GqaError {
  const { host } = new URL(url);
  const proxy = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'].find((name) => process.env[name]);
  const aside =
    proxy === undefined
      ? ''
      : ` ${proxy} is set, but downloads do not go through a proxy: fetch the file with a program that does.`;
  return new GqaError(
    'environment',
    `${host} cannot be reached${UNTRUSTED.test(code) ? ' safely' : ''}: ${message || code}`,
    {
      hint: `${otherwise}${aside}`,
    },
  );
}
