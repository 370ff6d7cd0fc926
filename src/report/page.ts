/** The report as one HTML file: needs no network, and nothing in it is code but the few lines that sort a table. */

import type { Confusion } from '../run/predictions.js';
import { clock } from '../run/progress.js';
import { type Column, percent } from '../run/table.js';
import { grouped, type Method, summaryCells } from '../sweep/summary.js';
import type { Changes } from './changes.js';
import type { Chart } from './charts.js';
import { methodName, type ReportedRun, wordOf } from './gather.js';
import { SORTING, STYLE } from './look.js';

export interface Report {
  title: string;
  /** When it was made. */
  at: Date;
  runs: readonly ReportedRun[];
  methods: readonly Method[];
  charts: readonly { chart: Chart; svg: string }[];
  changes: readonly Changes[];
  /** Of images that changed, as data URIs by name; a name is shown for what is not there. */
  pictures: ReadonlyMap<string, string>;
  /** Commands that make the same again. */
  commands: readonly string[];
  /** Seconds after which the page loads itself anew; null: never. */
  refresh: number | null;
}

export function page({ title, at, runs, methods, charts, changes, pictures, commands, refresh }: Report): string {
  const sections: [title: string, body: string][] = [
    ['Leaderboard', leaderboard(methods)],
    ['Charts', charts.map(figure).join('')],
    ['Runs', runsTable(runs)],
    ['Warnings', list([...new Set(runs.flatMap(({ warnings }) => warnings))])],
    ['Groups of heads', groupings(runs)],
    ['Classes', classesTable(runs)],
    ['Pictures that changed', changes.map((each) => changedPictures(each, pictures)).join('')],
    ['Confusion of classes', runs.map(confusion).join('')],
    ['What the runs differ in', configDifferences(runs)],
    ['Made with', environments(runs)],
    ['Made again by', commands.map((command) => `<pre tabindex="0"><code>${escaped(command)}</code></pre>`).join('')],
  ];
  const shown = sections.filter(([, body]) => body !== '');
  const done = runs.filter(({ outcome }) => outcome?.state === 'done').length;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
${refresh === null ? '' : `<meta http-equiv="refresh" content="${refresh}">\n`}<title>${escaped(title)} · gqa report</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>${escaped(title)}</h1>
<p>${done} of ${runs.length} ${runs.length === 1 ? 'run' : 'runs'} done · ${at.toISOString().slice(0, 16).replace('T', ' ')} UTC</p>
<nav aria-label="Sections">${shown.map(([name]) => `<a href="#${idOf(name)}">${name}</a>`).join(' ')}</nav></header>
<main>
${shown.map(([name, body]) => `<section id="${idOf(name)}" aria-labelledby="${idOf(name)}-title"><h2 id="${idOf(name)}-title">${name}</h2>${body}</section>`).join('\n')}
</main>
<script>${SORTING}</script>
</body>
</html>
`;
}

const nameOf = (point: ReportedRun['point']): string => `${methodName(point)}, seed ${point.seed}`;

const idOf = (name: string): string => name.toLowerCase().replaceAll(' ', '-');

export const escaped = (text: string): string => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

/** @param name what it holds, for who does not see it; @param sorts whether its columns can be sorted by */
function table(name: string, columns: readonly Column[], rows: readonly string[][], sorts = false): string {
  const heads = columns.map(({ title, align }) => {
    const text = escaped(title);
    const inside = sorts ? `<button type="button">${text}</button>` : text || '<span class="unseen">of</span>';
    return `<th scope="col"${align === 'right' ? ' class="number"' : ''}>${inside}</th>`;
  });
  const cell = (text: string, c: number): string =>
    c === 0
      ? `<th scope="row">${escaped(text)}</th>`
      : `<td${columns[c]?.align === 'right' ? ' class="number"' : ''}>${escaped(text)}</td>`;
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n');
  return `<div class="scroll" role="region" aria-label="${escaped(name)}" tabindex="0"><table${sorts ? ' class="sorts"' : ''}>
<caption>${escaped(name)}</caption><thead><tr>${heads.join('')}</tr></thead>
<tbody>${body}</tbody></table></div>`;
}

function leaderboard(methods: readonly Method[]): string {
  if (methods.length === 0) return '<p>No run has been tested yet.</p>';
  const { columns, rows } = summaryCells(methods);
  return table(
    'Means over seeds, ± standard deviation; differences to gqa are of pairs of one seed, their intervals by Student’s t',
    ...([columns, rows] as const),
    true,
  );
}

const figure = ({ chart: { title, description }, svg }: Report['charts'][number]): string =>
  `<figure><h3>${escaped(title)}</h3><div role="img" aria-label="${escaped(`${title}. ${description}`)}">${svg}</div><figcaption>${escaped(description)}</figcaption></figure>`;

function runsTable(runs: readonly ReportedRun[]): string {
  if (runs.length === 0) return '<p>There are no runs here.</p>';
  const right = (title: string): Column => ({ title, align: 'right' });
  return table(
    'Every run, and where its time went',
    [
      ...[
        { title: 'run' },
        { title: 'state' },
        right('epoch'),
        right('best top-1'),
        right('test top-1'),
        right('time'),
      ],
      ...[right('images/s'), right('waited for images')],
    ],
    runs.map(({ point, overview, imagesPerSecond, dataWait }) => [
      ...[nameOf(point), overview.state, `${overview.epoch}/${overview.epochs ?? '–'}`],
      ...[percent(overview.best_top1), percent(overview.test_top1)],
      overview.seconds === null ? '–' : clock(overview.seconds),
      ...[imagesPerSecond === null ? '–' : imagesPerSecond.toFixed(1), percent(dataWait)],
    ]),
    true,
  );
}

const list = (lines: readonly string[]): string =>
  lines.length === 0 ? '' : `<ul>${lines.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul>`;

/** Of every method that shares heads, of its first run: a row a layer, a cell a query head with the KV head that it reads. */
function groupings(runs: readonly ReportedRun[]): string {
  const first = new Map<string, ReportedRun>();
  for (const run of runs) if (!first.has(methodName(run.point))) first.set(methodName(run.point), run);
  return [...first]
    .flatMap(([name, { groups, valueGroups, point }]) => {
      if (groups === null || point.variant === 'mha') return [];
      const maps = [map(`${name}${valueGroups === null ? '' : ': keys'}`, groups)];
      return valueGroups === null ? maps : [...maps, map(`${name}: values`, valueGroups)];
    })
    .join('');
}

function map(name: string, groups: readonly (readonly number[])[]): string {
  const rows = groups.map((layer, i) => {
    const cells = layer.map((group) => `<td style="--group:${group}">${group}</td>`).join('');
    return `<tr><th scope="row">layer ${i}</th>${cells}</tr>`;
  });
  const heads = (groups[0] ?? []).map((_, head) => `<th scope="col">${head}</th>`).join('');
  return `<details><summary>${escaped(name)}</summary><div class="scroll" role="region" aria-label="${escaped(`Groups of ${name}`)}" tabindex="0"><table class="groups"><caption>KV head of each query head</caption><thead><tr><th scope="col">query head</th>${heads}</tr></thead><tbody>${rows.join('')}</tbody></table></div></details>`;
}

/** null: no image is of that class. */
function top1Of({ counts }: Confusion, c: number): number | null {
  const row = counts[c] ?? [];
  const images = row.reduce((sum, count) => sum + count, 0);
  return images === 0 ? null : (row[c] ?? 0) / images;
}

/** Top-1 of each class, a column a method: means over seeds. */
function classesTable(runs: readonly ReportedRun[]): string {
  const known = runs.flatMap(({ point, confusion }) => (confusion === null ? [] : [{ point, ...confusion }]));
  const [first] = known;
  if (first === undefined) return '';
  const alike = known.filter(({ classes }) => classes.join('\n') === first.classes.join('\n'));
  const methods = [...grouped(alike, ({ point }) => methodName(point))];
  return table(
    'Test top-1 of each class, means over seeds',
    [{ title: 'class' }, ...methods.map(([title]): Column => ({ title, align: 'right' }))],
    first.classes.map((name, c) => [
      name,
      ...methods.map(([, group]) =>
        percent(group.reduce((sum, each) => sum + (top1Of(each, c) ?? 0), 0) / group.length),
      ),
    ]),
    true,
  );
}

/** What a method lost against MHA, with the pictures of which it is surest that they are something else. */
function changedPictures({ name, images, lost, gained, shown }: Changes, pictures: Report['pictures']): string {
  const items = shown.map(({ image, label, predicted, probability }) => {
    const uri = pictures.get(image);
    const picture =
      uri === undefined
        ? escaped(image.split(/[/\\]/).slice(-3).join('/'))
        : `<img alt="${escaped(label)}" src="${uri}">`;
    return `<li>${picture}<span>${escaped(label)} → ${escaped(predicted)}, ${percent(probability)}</span></li>`;
  });
  const summary = `${name}: of ${images} test images ${lost} that mha has right are wrong, ${gained} that it has wrong are right`;
  return `<details><summary>${escaped(summary)}</summary>${items.length === 0 ? '' : `<ul class="pictures">${items.join('')}</ul>`}</details>`;
}

function confusion({ point, confusion: found }: ReportedRun): string {
  if (found === null) return '';
  const name = nameOf(point);
  return `<details><summary>${escaped(name)}</summary>${confusionTable(name, found)}</details>`;
}

function confusionTable(name: string, found: Confusion): string {
  const { classes, counts } = found;
  return table(
    `Test images by their class (row) and by what was predicted (column): ${name}`,
    [
      { title: 'class' },
      { title: 'top-1', align: 'right' },
      ...classes.map((title): Column => ({ title, align: 'right' })),
    ],
    counts.map((row, c) => [classes[c] ?? String(c), percent(top1Of(found, c)), ...row.map(String)]),
    true,
  );
}

/** Keys whose values are not the same in all runs. */
function configDifferences(runs: readonly ReportedRun[]): string {
  const keys = [...new Set(runs.flatMap(({ config }) => [...config.keys()]))].filter(
    (key) => key !== 'name' && new Set(runs.map(({ config }) => wordOf(config.get(key)))).size > 1,
  );
  if (keys.length === 0) return '';
  return table(
    'Keys of the configs that are not the same in all runs',
    [{ title: 'run' }, ...keys.map((title) => ({ title }))],
    runs.map(({ point, config }) => [nameOf(point), ...keys.map((key) => wordOf(config.get(key)))]),
  );
}

/** Each that there is once, with how many runs were made so. */
function environments(runs: readonly ReportedRun[]): string {
  const known = new Map<string, number>();
  for (const { environment } of runs) {
    const text = Object.entries(environment)
      .map(([key, value]) => `${key} ${value}`)
      .join(' · ');
    if (text !== '') known.set(text, (known.get(text) ?? 0) + 1);
  }
  return list([...known].map(([text, count]) => `${text} (${count} ${count === 1 ? 'run' : 'runs'})`));
}
