/** The local server of scripts/, which is plain JavaScript. */
import { resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';

export interface Faults {
  cutAfter?: number | undefined;
  stallAfter?: number | undefined;
  rate?: number;
  noRange?: boolean;
  noEtag?: boolean;
  noLength?: boolean;
  fail?: { status: number; times: number; headers?: Record<string, string> };
  redirect?: string;
  headers?: Record<string, string>;
}

export interface Served {
  url: string;
  requests: { path: string; range: string | undefined; ifRange: string | undefined }[];
  /** May be changed meanwhile. */
  faults: Faults;
}

/** Serves `folder` until the test ends. */
export async function serveFolder(t: TestContext, folder: string, faults: Faults = {}): Promise<Served> {
  const { serve } = (await import(pathToFileURL(resolve('scripts/serve-datasets.mjs')).href)) as {
    serve(folder: string, faults: Faults): Promise<Served & { close(): Promise<void> }>;
  };
  const served = await serve(folder, faults);
  t.after(() => served.close());
  return served;
}
