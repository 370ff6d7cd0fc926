import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable, toCsv } from '../../src/run/table.js';

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
    ['variant     top-1  state', '--------  -------  -----', 'mha        9.00 %  done', 'dgqa-ema  71.20 %', ''].join('\n'),
  );
});

test('a table without rows is its heading', () => {
  assert.equal(formatTable([{ title: 'a' }], []), 'a\n-\n');
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
