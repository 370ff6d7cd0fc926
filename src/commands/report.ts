/** `gqa report`: one HTML file of a sweep or of runs, as they are now; with `--watch` a local page that follows them. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { counted } from '../counted.js';
import { GqaError } from '../errors.js';
import { checkFile, writeFileAtomic } from '../files/atomic.js';
import { command } from '../invocation.js';
import { changesOf } from '../report/changes.js';
import { chartsOf } from '../report/charts.js';
import { asPng, drawn } from '../report/draw.js';
import { gathered, protocolAxes, rowOf } from '../report/gather.js';
import { page } from '../report/page.js';
import { interruption, type Stop } from '../run/interrupt.js';
import { rightIn } from '../run/predictions.js';
import { planIn } from '../run/sweep-folder.js';
import type { Row } from '../sweep/leaderboard.js';
import { summaryOf } from '../sweep/summary.js';
import { picturesOf } from './changed-pictures.js';
import { say } from './say.js';
import { rowsIn } from './sweep-plan.js';

export interface ReportOptions {
  /** Run folders, or one of a sweep. */
  folders: string[];
  out: string;
  /** Whether it shows images of the data set; left out: it does. */
  pictures?: boolean;
  /** Port of the local page, 0: any that is free; left out: the file is written once. */
  watch?: number;
}

/** Pictures that changed, of a method. */
const SHOWN = 8;

/** Seconds between two looks of a page that is watched. */
const REFRESH_S = 10;

/** @throws GqaError `usage` for a folder that is neither a run nor a sweep, `io` where the file cannot be written */
export async function report({ folders, out, pictures = true, watch }: ReportOptions, stop: Stop): Promise<void> {
  for (const folder of folders) requireKnown(folder);
  if (watch !== undefined) return serve(folders, watch, pictures, stop);
  checkFile(out);
  const { html, charts, runs } = await made(folders, pictures, null);
  writeFileAtomic(out, html);
  const beside = out.replace(/(\.html?)?$/i, '');
  for (const { chart, svg } of charts) {
    writeFileAtomic(`${beside}.${chart.name}.vl.json`, `${JSON.stringify(chart.spec, null, 1)}\n`);
    writeFileAtomic(`${beside}.${chart.name}.svg`, `${svg}\n`);
    writeFileAtomic(`${beside}.${chart.name}.png`, await asPng(svg));
  }
  say(
    `${out}: ${counted(runs, 'run')}, ${counted(charts.length, 'chart')}; each chart beside it as .svg, .png and .vl.json`,
  );
}

const isSweep = (folder: string): boolean => existsSync(planIn(folder));

function requireKnown(folder: string): void {
  if (isSweep(folder) || existsSync(path.join(folder, 'status.json'))) return;
  throw new GqaError('usage', `${folder} is neither a run nor a sweep: it holds no status.json and no plan.jsonl`, {
    hint: `${command('runs')} lists runs; a sweep’s folder is the one above those of its runs.`,
  });
}

function rowsOf(folders: readonly string[]): Row[] {
  const alone = folders.filter((folder) => !isSweep(folder));
  const planned = folders.filter(isSweep).flatMap(rowsIn);
  if (alone.length === 0 && folders.length === 1) return planned;
  // runs of several origins are kept apart by how they were made
  const runs = [...planned.map(({ run }) => run), ...alone];
  const axes = protocolAxes(runs);
  return runs.map((run, i) => rowOf(run, axes[i] ?? {}));
}

async function made(folders: readonly string[], withPictures: boolean, refresh: number | null) {
  const runs = rowsOf(folders).map(gathered);
  const methods = summaryOf(runs, rightIn);
  const charts = await Promise.all(chartsOf(runs, methods).map(async (chart) => ({ chart, svg: await drawn(chart) })));
  const changes = changesOf(runs, withPictures ? SHOWN : 0);
  const shown = [...new Set(changes.flatMap((each) => each.shown.map(({ image }) => image)))];
  const pictures = changes[0] === undefined || shown.length === 0 ? new Map() : await picturesOf(changes[0].run, shown);
  const commands = folders.flatMap((folder) =>
    isSweep(folder)
      ? [command(`sweep --resume ${folder}`), command(`report ${folder}`)]
      : [command(`train --config ${path.join(folder, 'config.yaml')}`)],
  );
  const title =
    folders.length === 1 ? path.basename(path.resolve(folders[0] as string)) : counted(folders.length, 'folder');
  const html = page({ title, at: new Date(), runs, methods, charts, changes, pictures, commands, refresh });
  return { html, charts, runs: runs.length };
}

/** Only this machine can reach it. */
async function serve(folders: readonly string[], port: number, pictures: boolean, stop: Stop): Promise<void> {
  const server = createServer((_, response) => {
    made(folders, pictures, REFRESH_S).then(
      ({ html }) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html),
      (error: Error) => response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' }).end(error.message),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new GqaError('usage', `--watch ${port}: ${error.message}`)));
    server.listen(port, '127.0.0.1', resolve);
  });
  say(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}/ follows them, a look every ${REFRESH_S} seconds; Ctrl-C ends it`,
  );
  await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve(), { once: true }));
  server.close();
  server.closeAllConnections();
  throw interruption(stop.signal, '; the runs go on');
}
