/** `gqa report`: what its file holds, of none, one and a hundred runs; what browsers make of it is report-browser.mjs's. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { report } from '../../src/commands/report.js';
import { chartsOf } from '../../src/report/charts.js';
import { drawn } from '../../src/report/draw.js';
import { gathered, protocolAxes } from '../../src/report/gather.js';
import type { Stop } from '../../src/run/interrupt.js';
import { rightIn } from '../../src/run/predictions.js';
import { outcomeIn } from '../../src/sweep/child.js';
import { summaryOf } from '../../src/sweep/summary.js';
import { gqa } from '../cli-run.js';
import { HOSTILE, madeUpSweep } from './made-up.js';

const METHODS: [string, number][] = [
  ['mha', 6],
  ['gqa', 3],
  ['kdgqa', 3],
  ['gqa', 2],
  ['kdgqa', 2],
];
const stop = { signal: new AbortController().signal, check: async () => {}, passTo() {} } as unknown as Stop;

function folder(t: { after(f: () => void): void }): string {
  const made = mkdtempSync(path.join(os.tmpdir(), 'gqa-report-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

async function htmlOf(folders: string[], out: string): Promise<string> {
  await report({ folders, out }, stop);
  return readFileSync(out, 'utf8');
}

/** Everything that could run, load or break out of its place. */
function requireHarmless(html: string): void {
  assert.ok(!html.includes(HOSTILE), 'hostile text stands there as it came');
  const tags = html.match(/<[a-z][^>]*>/gi) ?? [];
  const loading = tags.filter((tag) =>
    /^<(iframe|link|object|embed)|\s(src(?!="data:image\/png;base64,[\w+/=]*">$)|on\w+)=|javascript:/i.test(tag),
  );
  assert.deepEqual(loading, []);
  assert.equal(html.match(/<script/g)?.length, 1);
  assert.doesNotMatch(html.replaceAll('http://www.w3.org', '').replaceAll('https://vega.github.io', ''), /https?:\/\//);
}

test('a sweep: leaderboard, four charts, every run, groups and confusion; hostile names are text', async (t) => {
  const place = folder(t);
  const sweep = path.join(place, 'sweep');
  madeUpSweep(sweep, METHODS, 3);
  const html = await htmlOf([sweep], path.join(place, 'a.html'));
  requireHarmless(html);
  assert.equal(html.match(/<figure>/g)?.length, 4);
  for (const words of [
    '15 of 15 runs done',
    'kdgqa, K = 3, seed 2',
    'KV head of each query head',
    'a doubt: &#60;img',
    'Made again by',
  ])
    assert.ok(html.includes(words), words);
  for (const name of ['curves', 'kv-heads', 'pareto', 'differences']) {
    const spec = JSON.parse(readFileSync(path.join(place, `a.${name}.vl.json`), 'utf8'));
    assert.match(spec.$schema, /vega-lite\/v6/);
    assert.match(readFileSync(path.join(place, `a.${name}.svg`), 'utf8'), /^<svg/);
    const png = sharp(path.join(place, `a.${name}.png`));
    const [{ width = 0 }, { channels, isOpaque }] = await Promise.all([png.metadata(), png.stats()]);
    assert.ok(width > 600 && isOpaque && channels.some(({ stdev, mean }) => stdev > 5 && mean > 128), 'ink on white');
  }
});

test('a plan without a run, one run, and a hundred runs', async (t) => {
  const place = folder(t);
  madeUpSweep(path.join(place, 'none'), METHODS, 0);
  const none = await htmlOf([path.join(place, 'none')], path.join(place, 'none.html'));
  requireHarmless(none);
  assert.ok(none.includes('0 of 5 runs done') && none.includes('No run has been tested yet'));
  assert.ok(!existsSync(path.join(place, 'none.curves.svg')));
  madeUpSweep(path.join(place, 'many'), METHODS, 20);
  const many = await htmlOf([path.join(place, 'many')], path.join(place, 'many.html'));
  requireHarmless(many);
  assert.ok(many.includes('100 of 100 runs done') && many.length < 3e6);
  const one = await htmlOf([path.join(place, 'many', 'gqa-kv3-s1')], path.join(place, 'one.html'));
  requireHarmless(one);
  assert.ok(one.includes('1 of 1 run done'));
});

test('charts show means, standard deviations and intervals as the leaderboard has them', async (t) => {
  const sweep = path.join(folder(t), 'sweep');
  madeUpSweep(sweep, METHODS, 3);
  const rows = METHODS.flatMap(([variant, kvHeads]) =>
    [0, 1, 2].map((seed) => {
      const run = path.join(sweep, `${variant}-kv${kvHeads}-s${seed}`);
      return gathered({
        point: { variant, kvHeads, seed, axes: {}, runName: '' } as never,
        outcome: outcomeIn(run),
        run,
      });
    }),
  );
  const methods = summaryOf(rows);
  const charts = chartsOf(rows, methods);
  const spec = charts.find(({ name }) => name === 'differences')?.spec;
  const layers = (spec as { layer?: { data: { values: Record<string, number>[] } }[] } | undefined)?.layer;
  const shown = layers?.[1]?.data.values[0];
  const toGqa = methods.find(({ variant, kvHeads }) => variant === 'kdgqa' && kvHeads === 3)?.toGqa;
  assert.deepEqual([shown?.mean, shown?.low, shown?.high], [toGqa?.mean, toGqa?.interval?.[0], toGqa?.interval?.[1]]);
  for (const chart of charts) {
    const svg = await drawn(chart);
    assert.ok(svg.includes('currentColor'), `${chart.name} has the page's ink`);
    assert.doesNotMatch(svg, /NaN|undefined/);
  }
});

test('runs that differ in protocol have the key that differs as an axis, and are not averaged together', (t) => {
  const place = folder(t);
  madeUpSweep(path.join(place, 'a'), [['gqa', 3]], 2);
  const runs = [0, 1].map((seed) => path.join(place, 'a', `gqa-kv3-s${seed}`));
  assert.deepEqual(protocolAxes(runs), [{}, {}]);
  const [first = '', second = ''] = runs.map((run) => path.join(run, 'config.yaml'));
  const text = readFileSync(second, 'utf8');
  rmSync(second);
  writeFileSync(second, `${text}train: {epochs: 7}\n`);
  assert.ok(existsSync(first));
  assert.deepEqual(
    protocolAxes(runs).map((axes) => Object.keys(axes)),
    [['train.epochs'], ['train.epochs']],
  );
  assert.equal(protocolAxes(runs)[1]?.['train.epochs'], '7');
});

test('a folder that is neither run nor sweep is refused', async (t) => {
  const place = folder(t);
  await assert.rejects(
    report({ folders: [place], out: path.join(place, 'x.html') }, stop),
    /neither a run nor a sweep/,
  );
  assert.ok(!existsSync(path.join(place, 'x.html')));
});

test('--watch: a page of this machine alone that follows the runs, until Ctrl-C', async (t) => {
  const place = folder(t);
  const sweep = path.join(place, 'sweep');
  madeUpSweep(sweep, METHODS, 1);
  const watching = spawn(process.execPath, ['bin/gqa.js', 'report', sweep, '--watch'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => watching.kill('SIGKILL'));
  const [line] = (await once(watching.stderr.setEncoding('utf8'), 'data')) as [string];
  const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(line)?.[0] as string;
  const page = async (): Promise<string> => (await fetch(url)).text();
  assert.match(await page(), /5 of 5 runs done[\s\S]*/);
  assert.match(await page(), /<meta http-equiv="refresh" content="10">/);
  rmSync(path.join(sweep, 'gqa-kv3-s0', 'report.json'));
  assert.match(await page(), /4 of 5 runs done/);
  watching.kill('SIGINT');
  assert.deepEqual(await once(watching, 'exit'), [130, null]);
});

test('pictures that MHA has right and a variant wrong are shown, with what they are taken for; without the data their names', async (t) => {
  const place = folder(t);
  const data = path.join(place, 'data');
  cpSync('datasets/fashion-mnist-subset', data, { recursive: true });
  const asked = ['sweep', '--config', 'configs/smoke.yaml', '--variants', 'mha,gqa', '--kv-heads', '2'];
  const ran = gqa([...asked, '--set', `data.root=${data}`, '--runs-dir', place, '--name', 's']);
  assert.equal(ran.code, 0, ran.stderr);
  const sweep = path.join(place, 's');
  const kept = (name: string): string => path.join(sweep, name, 'test/predictions.csv');
  // as if sharing heads had made bags of everything: a model that is hardly trained says the same with and without
  const [head, ...rows] = readFileSync(kept('mha-kv4-s42'), 'utf8').trimEnd().split('\n');
  const bags = rows.map((row) => row.replace(/,[^,]*,([^,]*)$/, ',Bag,$1'));
  writeFileSync(kept('gqa-kv2-s42'), `${[head, ...bags].join('\n')}\n`);
  const right = (name: string) => rightIn(path.join(sweep, name)) as ReadonlyMap<string, boolean>;
  const [mha, now] = [right('mha-kv4-s42'), right('gqa-kv2-s42')];
  const lost = [...mha].filter(([image, was]) => was && now.get(image) === false);
  assert.ok(lost.length > 0);
  const html = await htmlOf([sweep], path.join(place, 'a.html'));
  requireHarmless(html);
  assert.ok(html.includes(`of ${mha.size} test images ${lost.length} that mha has right are wrong`));
  const uris = [...html.matchAll(/<img alt="[^"]+" src="data:image\/png;base64,([^"]*)">/g)].map(
    ([, found]) => found as string,
  );
  assert.equal(uris.length, Math.min(8, lost.length));
  const { width } = await sharp(Buffer.from(uris[0] as string, 'base64')).metadata();
  assert.ok((width ?? 0) >= 96, 'small images are shown larger');
  await report({ folders: [sweep], out: path.join(place, 'c.html'), pictures: false }, stop);
  const passedOn = readFileSync(path.join(place, 'c.html'), 'utf8');
  assert.ok(!passedOn.includes('<img') && passedOn.includes(`${lost.length} that mha has right are wrong`));
  rmSync(data, { recursive: true });
  const without = await htmlOf([sweep], path.join(place, 'b.html'));
  assert.ok(!without.includes('<img') && without.includes('<li>test['), 'their names');
});
