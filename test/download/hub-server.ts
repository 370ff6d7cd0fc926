/**
 * A server that speaks the hub's protocol over local folders, `<root>/OWNER/NAME/`: every file at `resolve/REVISION/`,
 * large ones by a redirect to another host, with Range; and the faults of real ones. Also a program:
 * `node dist/test/download/hub-server.js ROOT` prints its address, to be given as HF_ENDPOINT.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

export interface HubFaults {
  /** Bytes of the first answer with content of the large host, before it is cut. */
  cutAfter?: number;
  /** The token that is needed. */
  token?: string;
  /** The status that everything is answered with. */
  status?: number;
  /** Whether a byte of what is sent is another. */
  damaged?: boolean;
}

export interface HubServer {
  endpoint: string;
  /** What was asked for, `METHOD path`, the large host's as `METHOD large:path`. */
  asked: string[];
  close(): void;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const gitHash = (bytes: Buffer): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

async function listening(handler: http.RequestListener): Promise<{ server: http.Server; address: string }> {
  const server = http.createServer(handler);
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** @param root holds a folder OWNER/NAME for each model, all at `COMMIT` */
export async function serveHub(root: string, faults: HubFaults = {}): Promise<HubServer> {
  const asked: string[] = [];
  let cut = faults.cutAfter;
  const large = await listening((request, response) => {
    asked.push(`${request.method} large:${request.url}`);
    if (request.headers.authorization !== undefined)
      return void response.writeHead(400).end('a token for another host');
    const bytes = Buffer.from(readFileSync(join(root, request.url as string)));
    if (faults.damaged) bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const part = bytes.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      etag: `"${sha256(bytes)}"`,
      'content-length': part.length,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    if (cut === undefined) return void response.end(part);
    response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 30));
    cut = undefined;
  });
  const hub = await listening((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const error = (status: number, code: string): unknown =>
      response.writeHead(status, { 'x-error-code': code, 'x-error-message': code }).end();
    if (faults.status !== undefined) return void error(faults.status, '');
    const [, id, revision, name] = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(request.url ?? '') ?? [];
    if (faults.token !== undefined && request.headers.authorization !== `Bearer ${faults.token}`)
      return void error(401, 'RepoNotFound');
    if (id === undefined || !existsSync(join(root, id))) return void error(404, 'RepoNotFound');
    if (revision !== 'main' && revision !== COMMIT) return void error(404, 'RevisionNotFound');
    const file = join(id, name as string);
    if (!existsSync(join(root, file))) return void error(404, 'EntryNotFound');
    const bytes = readFileSync(join(root, file));
    if (file.endsWith('.safetensors')) {
      const headers = { 'x-repo-commit': COMMIT, 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': bytes.length };
      return void response.writeHead(302, { ...headers, location: `${large.address}/${file}` }).end();
    }
    response.writeHead(200, { 'x-repo-commit': COMMIT, etag: `"${gitHash(bytes)}"`, 'content-length': bytes.length });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  return {
    endpoint: hub.address,
    asked,
    close() {
      for (const { server } of [hub, large]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  console.log((await serveHub(process.argv[2] ?? '.')).endpoint);
