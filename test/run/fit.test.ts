import assert from 'node:assert/strict';
import { test } from 'node:test';
import { columnsIn, columnsOf, cutTo, fitted } from '../../src/run/fit.js';

test('columns that a terminal takes: East Asian characters and emoji two, marks and joiners none', () => {
  // As wcwidth of Unicode 15 has them, clusters as terminals draw them.
  const known: [string, number][] = [
    ['epoch 1/5 · 71.2 % – “x”', 24],
    ['████░░░░', 8],
    ['猫', 2],
    ['ねこ/犬', 7],
    ['고양이', 6],
    ['ＡＢ', 4],
    ['ｱｲ', 2],
    ['café', 4],
    ['cafe\u0301', 4],
    ['🐈', 2],
    ['👩‍👩‍👧', 2],
    ['❤️', 2],
    ['🇫🇷', 2],
    ['𠮷', 2],
    ['шаг', 3],
    ['a\u200bb', 2],
    ['', 0],
  ];
  for (const [text, columns] of known) assert.equal(columnsIn(text), columns, JSON.stringify(text));
});

test('a text that is cut shows it, and no character is halved', () => {
  assert.equal(cutTo('epoch', 5), 'epoch');
  assert.equal(cutTo('epoch 12', 5), 'epoc…');
  assert.equal(cutTo('猫猫猫', 4), '猫…');
  assert.equal(cutTo('cafe\u0301 noir', 5), 'cafe\u0301…');
  assert.equal(cutTo('abc', 1), '…');
  assert.equal(cutTo('abc', 0), '');
});

test('parts give way in the order that is stated, and only as far as needed', () => {
  const parts = { a: 'aaaa', b: 'bbbb', c: 'cccc' };
  const shorter = [
    ['b', ''],
    ['c', 'c'],
    ['b', 'never comes back'],
  ] as const;
  const at = (columns: number): string => fitted(parts, shorter, columns);
  assert.deepEqual([18, 17, 11, 10, 8, 7].map(at), [
    'aaaa · bbbb · cccc',
    'aaaa · cccc',
    'aaaa · cccc',
    'aaaa · c',
    'aaaa · c',
    'aaaa ·…',
  ]);
});

test('a terminal has its columns, 80 where it does not tell; a file or a pipe has no bound', () => {
  assert.equal(columnsOf({ isTTY: true, columns: 57 }), 57);
  assert.equal(columnsOf({ isTTY: true, columns: 0 }), 80);
  assert.equal(columnsOf({ isTTY: true }), 80);
  assert.equal(columnsOf({ columns: 57 }), Number.POSITIVE_INFINITY);
});
