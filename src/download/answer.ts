/** What a server’s answer tells: whether it goes on with a part, whether it is the file at all. */
import type http from 'node:http';
import { GqaError } from '../errors.js';
import { type Part, readState } from './part.js';
import type { Wanted } from './wanted.js';

/** A server that asks for more time gets no more than this. */
export const MAX_RETRY_AFTER_MS = 60_000;
/** What is looked at before a body is taken for an archive. */
export const HEAD_BYTES = 512;

const SIGNATURES = { gzip: '1f8b', zip: '504b0304' };
/** null: a file that is known by its checksum alone. */
const signatureOf = (file: string): keyof typeof SIGNATURES | null =>
  file.endsWith('.zip') ? 'zip' : /\.(?:safetensors|json)$/.test(file) ? null : 'gzip';

/** Says what came instead of an archive, before a byte of it is kept. */
export function checkHead(url: string, response: http.IncomingMessage, wanted: Wanted, head: Buffer): void {
  const expected = signatureOf(wanted.file);
  if (expected !== null && !head.toString('hex', 0, 4).startsWith(SIGNATURES[expected])) {
    throw new GqaError(
      'data',
      `${url}: what came is ${describeContent(head)}; expected a ${expected} file of ${wanted.bytes} bytes. Nothing of it was kept`,
      {
        hint: `A log-in page, a proxy or a notice that the file has moved looks like this: open the address in a browser. ${wanted.otherwise}`,
      },
    );
  }
  const said = response.headers['content-length'];
  if (said !== undefined && Number(said) !== wanted.bytes) throw otherSize(url, wanted, said);
}

export function otherSize(url: string, wanted: Wanted, found: string): GqaError {
  return new GqaError('data', `${url} has ${found} bytes; expected ${wanted.bytes}: it is another file or version`, {
    hint: wanted.otherwise,
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

export function rangeHeaders(url: string, part: Part): Record<string, string> {
  if (part.have === 0) return {};
  const state = readState(part.path);
  // From another address than before nothing but the checksum tells whether the rest fits: an If-Range of the first one
  // would only make it begin anew.
  const validator = state?.url === url ? state.validator : null;
  return { range: `bytes=${part.have}-`, ...(validator === null ? {} : { 'if-range': validator }) };
}

/** Whether a 206 brings what comes next in a file of the size wanted. */
export function continues(response: http.IncomingMessage, have: number, bytes: number): boolean {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '') ?? [];
  return Number(start) === have && (total === '*' || Number(total) === bytes);
}

export function validatorOf({ headers }: http.IncomingMessage): string | null {
  if (headers.etag?.startsWith('"') === true) return headers.etag;
  return headers['last-modified'] ?? null;
}

export const describeStatus = ({ statusCode, statusMessage }: http.IncomingMessage): string =>
  `${statusCode} ${statusMessage ?? ''}`.trim();

export function retryAfterMs({ headers }: http.IncomingMessage): number {
  const after = headers['retry-after'];
  if (after === undefined) return 0;
  const seconds = /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : 0;
}
