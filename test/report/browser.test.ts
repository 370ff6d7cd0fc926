/** The report in a real browser: nothing in its console, nothing serious for axe, no overflow on a phone. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { report } from '../../src/commands/report.js';
import type { Stop } from '../../src/run/interrupt.js';
import { madeUpSweep } from './made-up.js';

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'];
const browser = BROWSERS.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);
const skip = browser === undefined && `no browser is here (${BROWSERS.join(', ')}; Debian: apt install chromium)`;
const stop = { signal: new AbortController().signal } as unknown as Stop;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What runs in the page: axe's findings and how far it reaches to the right, into the document that is dumped. */
const PROBE = `
axe.run().then(({ violations }) => {
  const found = violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes[0].html.slice(0, 200) }));
  const inner = document.documentElement;
  document.body.innerHTML = '<pre id="found"></pre>';
  document.getElementById('found').textContent = JSON.stringify({ found, wide: WIDE, width: inner.clientWidth });
});
const WIDE = document.documentElement.scrollWidth;`;

interface Found {
  found: { id: string; impact: string; where: string }[];
  wide: number;
  width: number;
}

function opened(html: string, place: string, width: number, dark: boolean): Found {
  const file = path.join(place, 'probed.html');
  writeFileSync(
    file,
    html.replace('</body>', () => `<script>${axe}</script><script>${PROBE}</script></body>`),
  );
  const { stdout, stderr } = spawnSync(
    browser as string,
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr', '--virtual-time-budget=20000'],
      ...[`--user-data-dir=${path.join(place, 'profile')}`, `--window-size=${width},900`, '--dump-dom'],
      ...(dark ? ['--blink-settings=preferredColorScheme=0'] : []),
      `file://${file}`,
    ],
    { encoding: 'utf8', timeout: 120_000, maxBuffer: 2 ** 27 },
  );
  assert.deepEqual(
    stderr.split('\n').filter((line) => /:CONSOLE/.test(line)),
    [],
  );
  const text = /<pre id="found">(.*?)<\/pre>/s.exec(stdout)?.[1];
  assert.ok(text !== undefined, `the page did not answer: ${stderr.slice(-500)}`);
  return JSON.parse(text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')) as Found;
}

for (const [what, seeds] of [
  ['no run', 0],
  ['one seed', 1],
  ['a hundred runs', 20],
] as const)
  test(`the report of ${what}: silent console, nothing serious for axe, light and dark, on a phone and a desktop`, {
    skip,
  }, async (t) => {
    const place = mkdtempSync(path.join(os.tmpdir(), 'gqa-browser-'));
    t.after(() => rmSync(place, { recursive: true, force: true }));
    const sweep = path.join(place, 'sweep');
    madeUpSweep(
      sweep,
      [
        ['mha', 6],
        ['gqa', 3],
        ['kdgqa', 3],
        ['gqa', 2],
        ['kdgqa', 2],
      ],
      seeds,
    );
    const out = path.join(place, 'report.html');
    await report({ folders: [sweep], out }, stop);
    const html = readFileSync(out, 'utf8');
    for (const [width, dark] of [
      [500, false],
      [1400, true],
    ] as const) {
      const { found, wide, width: seen } = opened(html, place, width, dark);
      assert.deepEqual(
        found.filter(({ impact }) => impact === 'serious' || impact === 'critical'),
        [],
      );
      assert.ok(wide <= seen, `${wide} pixels of content in a window of ${seen}`);
    }
  });

test('a picture without words is found', { skip }, (t) => {
  const place = mkdtempSync(path.join(os.tmpdir(), 'gqa-browser-'));
  t.after(() => rmSync(place, { recursive: true, force: true }));
  const html = '<!doctype html><html lang="en"><head><title>x</title></head><body><img src="data:,"></body></html>';
  const { found } = opened(html, place, 800, false);
  assert.ok(found.some(({ id, impact }) => id === 'image-alt' && impact === 'critical'));
});
