/** `gqa reference DIR`: the project against numbers of the paper's own code. */
import fs from 'node:fs';
import path from 'node:path';
import type { Config } from '../config/schema.js';
import { GqaError } from '../errors.js';
import { projectFile } from '../invocation.js';
import { startBackend } from '../native/backend.js';
import { compareAttention } from '../reference/attention.js';
import type { CaseResult } from '../reference/case.js';
import { compareNeighbours } from '../reference/neighbours.js';
import { comparePreprocess } from '../reference/preprocess.js';
import type { Stop } from '../run/interrupt.js';
import type { TrainerMode } from '../train/trainer.js';
import { modeOf } from './data-and-backend.js';
import { say } from './say.js';

/** Folder name → how it is compared. */
const KINDS: Record<string, (dir: string, mode: TrainerMode) => Iterable<CaseResult> | AsyncIterable<CaseResult>> = {
  attention: compareAttention,
  preprocess: comparePreprocess,
  neighbours: compareNeighbours,
};

export interface ReferenceOptions {
  dir: string;
  device?: Config['device'];
  /** Operation by operation instead of compiled. */
  eager: boolean;
  plain: boolean;
  json: boolean;
}

/**
 * Prints a line per case and `N passed, N failed` (with `json` one document).
 * @throws GqaError when a case failed or there was none
 */
export async function reference({ dir, device, eager, plain, json }: ReferenceOptions, stop: Stop): Promise<void> {
  const kinds = kindsIn(dir);
  const backend = await startBackend(device ?? 'auto');
  if (backend.notice !== null) say(backend.notice);
  const mode = modeOf(backend, plain ? 'tensorflow' : 'auto', eager);
  await stop.check();
  say(`${mode} on ${backend.name} ${backend.version}, ${backend.device}`);
  const cases: (CaseResult & { kind: string })[] = [];
  const print = (line: string): void => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  for (const [kind, folder] of kinds) {
    for await (const result of (KINDS[kind] as (typeof KINDS)[string])(folder, mode)) {
      print(`${result.passed ? 'pass' : 'FAIL'}  ${result.name}: ${result.detail}`);
      cases.push({ kind, ...result });
      await stop.check();
    }
  }
  const passed = cases.filter((result) => result.passed).length;
  const failed = cases.length - passed;
  if (json) process.stdout.write(`${JSON.stringify({ mode, passed, failed, cases })}\n`);
  print(`${passed} passed, ${failed} failed`);
  if (failed > 0) throw new GqaError('data', `${failed} of ${passed + failed} reference cases failed`);
  if (cases.length === 0) throw new GqaError('data', `${dir}: holds no case that can be compared`);
}

/** `dir` holds attention/ and/or preprocess/, or is one of them, recognised by its index.json. */
function kindsIn(dir: string): [kind: string, folder: string][] {
  const index = path.join(dir, 'index.json');
  if (fs.existsSync(index)) {
    let keys: string[];
    try {
      keys = Object.keys(JSON.parse(fs.readFileSync(index, 'utf8')) ?? {});
    } catch (cause) {
      throw new GqaError('data', `${index}: not JSON: ${(cause as Error).message}`, { cause });
    }
    if (keys.includes('cases')) return [['attention', dir]];
    if (keys.includes('sharedBasis')) return [['neighbours', dir]];
    if (keys.includes('resize') || keys.includes('randaugment')) return [['preprocess', dir]];
    throw new GqaError(
      'data',
      `${index}: neither an index of attention cases (“cases”), nor of preprocessing (“resize”, “randaugment”), nor of the neighbouring methods (“sharedBasis”)`,
    );
  }
  const found = Object.keys(KINDS)
    .map((kind): [string, string] => [kind, path.join(dir, kind)])
    .filter(([, folder]) => fs.existsSync(folder));
  if (found.length === 0) {
    throw new GqaError(
      'data',
      `${dir}: no reference vectors: neither an index.json nor a folder ${Object.keys(KINDS).join(' or ')}`,
      {
        hint: `Give a directory in the form that ${projectFile('test/reference/README.md')} describes.`,
      },
    );
  }
  return found;
}
