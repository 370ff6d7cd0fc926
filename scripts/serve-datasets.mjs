/**
 * A local HTTP server over a folder, to try `gqa data fetch NAME --mirror http://127.0.0.1:PORT` by hand, with the
 * faults that servers and networks have:
 *
 *   node scripts/serve-datasets.mjs FOLDER [--port N]
 *     [--cut-after BYTES]   cut the connection after so many bytes of every answer
 *     [--stall-after BYTES] send nothing more after so many bytes, and leave the connection open
 *     [--rate BYTES]        so many bytes a second
 *     [--no-range]          always send files from their beginning
 *     [--no-etag]           send neither ETag nor Last-Modified
 *     [--fail STATUS:N]     answer the first N requests with this status
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * @typedef {object} Faults may be changed while the server runs
 * @property {number} [cutAfter]
 * @property {number} [stallAfter]
 * @property {number} [rate]
 * @property {boolean} [noRange]
 * @property {boolean} [noEtag]
 * @property {{ status: number, times: number, headers?: Record<string, string> }} [fail]
 * @property {string} [redirect] where every request is sent instead; its own path is added
 * @property {boolean} [noLength] leave Content-Length out
 * @property {Record<string, string>} [headers] of every file besides
 */

/**
 * @param {string} folder
 * @param {Faults} [faults]
 * @param {number} [port] 0: any that is free
 * @returns {Promise<{ url: string, requests: { path: string, range: string | undefined, ifRange: string | undefined
 *   }[], faults: Faults, close(): Promise<void> }>}
 */
export async function serve(folder, faults = {}, port = 0) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push({ path: request.url, range: request.headers.range, ifRange: request.headers['if-range'] });
    answer(folder, faults, request, response).catch((error) => response.destroy(error));
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, requests, faults, close };
}

async function answer(folder, faults, request, response) {
  if (faults.redirect !== undefined) return response.writeHead(302, { location: faults.redirect + request.url }).end();
  if (faults.fail !== undefined && faults.fail.times > 0) {
    faults.fail.times--;
    return response.writeHead(faults.fail.status, faults.fail.headers ?? {}).end('not now\n');
  }
  const name = decodeURIComponent(new URL(request.url, 'http://local').pathname);
  const file = path.join(folder, path.posix.normalize(name));
  if (!existsSync(file) || !statSync(file).isFile())
    return response.writeHead(404, { 'content-type': 'text/plain' }).end('no such file\n');

  const bytes = readFileSync(file);
  const etag = `"${createHash('md5').update(bytes).digest('hex')}"`;
  const headers = { ...(faults.noEtag ? {} : { etag }), ...faults.headers };
  const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const start =
    asked && !faults.noRange && [undefined, etag].includes(request.headers['if-range']) ? Number(asked[1]) : 0;
  if (start > 0 && start >= bytes.length)
    return response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
  const body = bytes.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    ...headers,
    ...(faults.noLength ? {} : { 'content-length': body.length }),
    ...(start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  await send(response, body, faults);
}

/** In pieces, so that a fault can fall between two of them. */
async function send(response, body, { cutAfter, stallAfter, rate }) {
  const end = Math.min(body.length, cutAfter ?? Infinity, stallAfter ?? Infinity);
  const piece = rate === undefined ? 65_536 : Math.max(1, Math.round(rate / 20));
  for (let at = 0; at < end && !response.destroyed; at += piece) {
    await new Promise((resolve) => response.write(body.subarray(at, Math.min(end, at + piece)), resolve));
    if (rate !== undefined) await sleep(50);
  }
  if (end === body.length) response.end();
  else if (cutAfter !== undefined) {
    await sleep(50); // a reader drops what it has not yet looked at when the cut comes
    response.destroy();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: 'string', default: '8000' },
      'cut-after': { type: 'string' },
      'stall-after': { type: 'string' },
      rate: { type: 'string' },
      'no-range': { type: 'boolean' },
      'no-etag': { type: 'boolean' },
      fail: { type: 'string' },
    },
  });
  const folder = positionals[0];
  if (folder === undefined || !existsSync(folder)) {
    console.error(
      folder === undefined ? 'Which folder? node scripts/serve-datasets.mjs FOLDER' : `${folder} is not there.`,
    );
    process.exit(2);
  }
  const number = (text) => (text === undefined ? undefined : Number(text));
  const [status, times] = (values.fail ?? '').split(':').map(Number);
  const { url } = await serve(
    folder,
    {
      cutAfter: number(values['cut-after']),
      stallAfter: number(values['stall-after']),
      rate: number(values.rate),
      noRange: values['no-range'],
      noEtag: values['no-etag'],
      fail: values.fail === undefined ? undefined : { status, times },
    },
    Number(values.port),
  );
  console.log(`${path.resolve(folder)} at ${url}; Ctrl-C ends it`);
}
