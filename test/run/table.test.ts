import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable, latexTable, markdownTable, toCsv } from '../../src/run/table.js';

test('columns are as wide as their widest cell, numbers at the right edge, no blanks at line ends', () => {
  const table = formatTable(
    [{ title: 'variant' }, { title: 'top-1', align: 'right' }, { title: 'state' }],
    [
      ['mha', '9.00 %', 'done'],
      ['dgqa-ema', '71.20 %', ''],
    ],
  );
  assert.equal(
    table,
    ['variant     top-1  state', '--------  -------  -----', 'mha        9.00 %  done', 'dgqa-ema  71.20 %', ''].join(
      '\n',
    ),
  );
});

test('a table without rows is its heading', () => {
  assert.equal(formatTable([{ title: 'a' }], []), 'a\n-\n');
});

const columns = [
  { title: 'variant' },
  { title: 'top-1 as converted', align: 'right' as const },
  { title: 'K/V parameters', align: 'right' as const, optional: true },
  { title: 'run', optional: true },
];
const rows = [
  ['mha', '9.00 %', '296448', 'runs/a/mha-kv12-s42'],
  ['dgqa-ema', '71.20 %', '74112', 'runs/a/dgqa-ema-kv3-s42'],
];
const at = (width: number): string[] => formatTable(columns, rows, width).trimEnd().split('\n');

test('a table that is wider than the terminal: titles are broken, then optional columns left out and named, then it is a list', () => {
  assert.equal(formatTable(columns, rows), formatTable(columns, rows, 69));
  assert.deepEqual(at(68), [
    '           top-1 as         K/V',
    'variant   converted  parameters  run',
    '--------  ---------  ----------  -----------------------',
    'mha          9.00 %      296448  runs/a/mha-kv12-s42',
    'dgqa-ema    71.20 %       74112  runs/a/dgqa-ema-kv3-s42',
  ]);
  assert.deepEqual(at(55), [
    '           top-1 as         K/V',
    'variant   converted  parameters',
    '--------  ---------  ----------',
    'mha          9.00 %      296448',
    'dgqa-ema    71.20 %       74112',
    'not shown: run',
  ]);
  assert.deepEqual(at(30).slice(1), [
    'variant   converted',
    '--------  ---------',
    'mha          9.00 %',
    'dgqa-ema    71.20 %',
    'not shown: K/V parameters, run',
  ]);
  assert.deepEqual(at(29), [
    'variant             mha',
    'top-1 as converted  9.00 %',
    'K/V parameters      296448',
    'run                 runs/a/mha-kv12-s42',
    '',
    'variant             dgqa-ema',
    'top-1 as converted  71.20 %',
    'K/V parameters      74112',
    'run                 runs/a/dgqa-ema-kv3-s42',
  ]);
});

test('no line of a table is wider than the terminal, but for values of a list that are wider by themselves', () => {
  const longest = 'runs/a/dgqa-ema-kv3-s42'.length + 'top-1 as converted  '.length;
  for (let width = 20; width <= 200; width++)
    for (const line of at(width))
      assert.ok([...line].length <= Math.max(width, width < 30 ? longest : 0), `${width}: ${line}`);
});

test('characters that are drawn two columns wide are counted as two', () => {
  assert.equal(
    formatTable(
      [{ title: 'name' }, { title: 'n', align: 'right' }],
      [
        ['猫', '1'],
        ['dog', '2'],
      ],
    ),
    'name  n\n----  -\n猫    1\ndog   2\n',
  );
});

test('CSV quotes what must be quoted, shows numbers that are not finite, and leaves null empty', () => {
  assert.equal(
    toCsv([['a,b', 'say "x"', 'two\nlines', null, 0, Number.NaN, Number.POSITIVE_INFINITY, -1e-9]]),
    '"a,b","say ""x""","two\nlines",,0,NaN,Infinity,-1e-9\n',
  );
});

test('a text that a spreadsheet would run is made harmless', () => {
  assert.equal(toCsv([['=1+1', '@x', -1]]), "'=1+1,'@x,-1\n");
});

test('for a paper: Markdown and LaTeX, with what either reads otherwise escaped', () => {
  const columns = [{ title: 'a|b' }, { title: 'top_1 %', align: 'right' as const }];
  assert.equal(markdownTable(columns, [['x', '1 ± 2 %']]), '| a\\|b | top_1 % |\n| --- | ---: |\n| x | 1 ± 2 % |\n');
  assert.equal(
    latexTable(columns, [['x_{y}\\^', '−1.5 ± 2 %']]),
    [
      ...['\\begin{tabular}{lr}', '  \\toprule', '  a|b & top\\_1 \\% \\\\', '  \\midrule'],
      ...['  x\\_\\{y\\}\\textbackslash{}\\^{} & $-$1.5 $\\pm$ 2 \\% \\\\', '  \\bottomrule', '\\end{tabular}', ''],
    ].join('\n'),
  );
});
