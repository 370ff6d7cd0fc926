/**
 * Slips of the pen in YAML: what the line looks like, and what to write instead. The parser's own words are about its
 * grammar.
 */
import { Lexer } from 'yaml';
import { shown } from './shown.js';

const key = /^["']?[A-Za-z_][\w.-]*["']?/.source;

/** A key and its value without what YAML wants between them. Each gives what follows the line in the message. */
const keyLines: [pattern: RegExp, say: (key: string, value: string) => string][] = [
  [
    new RegExp(`^(${key})[ \\t]*:?=[ \\t]*(.*)$`),
    (key, value) => `has "=" where YAML wants ": ": write ${quoted(key, value)}`,
  ],
  [
    new RegExp(`^(${key}):(?![ \\t]|$)(.+)$`),
    (key, value) => `lacks a blank after the colon: write ${quoted(key, value)}`,
  ],
  [
    new RegExp(`^(${key})[ \\t]+([^:\\s#].*)$`),
    (key, value) => `lacks a colon after the key: write ${quoted(key, value)}`,
  ],
  [new RegExp(`^(${key})[ \\t]*$`), (key) => `lacks a colon: write ${shown(`${key}:`)}`],
];

const quoted = (key: string, value: string): string => shown(`${key}: ${value.trim()}`);

/**
 * What is wrong with text that should be `key: value`: `lacks a colon after the key: write "seed: 42"`; undefined when
 * it looks like neither.
 */
export function keyLineSlip(line: string): string | undefined {
  const found = keyLines
    .map(([pattern, say]) => ({ match: pattern.exec(line.trim()), say }))
    .find(({ match }) => match !== null);
  return found?.match ? found.say(found.match[1] ?? '', found.match[2] ?? '') : undefined;
}

/**
 * The same of text that was read where a mapping should be, its lines folded into one. A single word is no slip:
 * `model: base` is another mistake.
 */
export function foldedSlip(text: string): string | undefined {
  const line = text.replace(/(?<=\S)\s+[\w.-]+\s*[=:].*$/, '');
  const slip = /\s|=|:/.test(line) ? keyLineSlip(line) : undefined;
  return slip && `${shown(line)} ${slip}`;
}

/** What is wrong with a key that no config has; undefined when it looks like a plain word. */
export function keySlip(word: string): string | undefined {
  if (/^[\u00a0\u2000-\u200a\u3000\ufeff]/.test(word))
    return `it begins with a blank that is none in YAML (U+${word.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}): indent with ordinary blanks`;
  if (/[“”„‘’«»]/.test(word)) return 'curly quotes are letters in YAML: leave them out, or write "';
  if (/^(\/\/|\/\*)/.test(word)) return 'a comment begins with # in YAML';
  if (word.endsWith(':')) return 'it has a colon too many';
  const slip = /^[\w.-]*$/.test(word) ? undefined : keyLineSlip(word);
  return slip && `it ${slip}`;
}

/** An error of the parser, with the text it stands in. */
export interface SyntaxError {
  code: string;
  message: string;
  offset: number;
}

/** The error in one sentence, and the offset at which it is shown. */
export function syntaxSlip(text: string, { code, message, offset }: SyntaxError): { text: string; offset: number } {
  const say = sentences[code]?.(text, offset, message);
  return say === undefined
    ? { text: `is not YAML here: ${message}`, offset }
    : typeof say === 'string'
      ? { text: say, offset }
      : say;
}

type Sentence = (
  text: string,
  offset: number,
  message: string,
) => string | { text: string; offset: number } | undefined;

const sentences: Record<string, Sentence> = {
  TAB_AS_INDENT: () => 'a tab cannot indent in YAML: use blanks',
  MULTIPLE_DOCS: () => 'a second document starts here ("---"): a config is one document',
  MULTILINE_IMPLICIT_KEY: (text, offset) => lineSlip(text, offset),
  BLOCK_AS_IMPLICIT_KEY: blockInValue,
  BLOCK_IN_FLOW: (text, offset) =>
    textFrom(text, offset).includes(':')
      ? 'a comma is missing: inside { } or [ ] every entry but the last is followed by one'
      : 'a list or mapping written line by line cannot stand inside { } or [ ]',
  BAD_INDENT: (text, offset, message) =>
    message.startsWith('Flow')
      ? unclosed(text, offset)
      : 'this line begins in another column than the keys of the section above it: indent them alike',
  MISSING_CHAR: missing,
  BAD_DQ_ESCAPE: (_, __, message) =>
    `${message.match(/\\.*/)?.[0] ?? 'this backslash'} means nothing in double quotes: write \\\\ for a backslash, or use single quotes`,
  BAD_SCALAR_START: (text, offset) => `a value that begins with ${text.charAt(offset)} must stand in quotes`,
  BAD_ALIAS: () => 'a value that begins with * must stand in quotes',
  TAG_RESOLVE_FAILED: () => 'a value that begins with ! must stand in quotes',
  UNEXPECTED_TOKEN: unexpected,
};

/** A line without a colon, or without the blank after it. */
function lineSlip(text: string, offset: number): string {
  const line = textFrom(text, offset);
  if (/^(<{7}|={7}|>{7})/.test(line)) return 'a merge conflict is left in the file: choose one of its sides';
  const slip = keyLineSlip(line);
  return slip === undefined ? `${shown(line)} is no "key: value"` : `${shown(line)} ${slip}`;
}

/**
 * A value that itself looks like `key: value`: on its own line, or because the next line is indented deeper than it
 * should be.
 */
function blockInValue(text: string, offset: number): string | { text: string; offset: number } {
  const value = textFrom(text, offset);
  if (/\r(?!\n)/.test(text)) return 'lines end with CR alone, which is not read: save the file with LF or CRLF';
  if (/:(\s|$)/.test(value)) return `the value ${shown(value)} holds another colon: put it in quotes`;
  const next = text.indexOf('\n', offset) + 1;
  const indent = /^[ \t]*/.exec(text.slice(next))?.[0].length ?? 0;
  return next === 0
    ? 'a mapping cannot begin here'
    : {
        text: 'this line is indented deeper than the key before it, which has a value already: indent them alike',
        offset: next + indent,
      };
}

function missing(text: string, offset: number, message: string): string | { text: string; offset: number } | undefined {
  if (/quote/.test(message)) {
    const opened = tokensOf(text).findLast(({ token }) => /^["']/.test(token));
    return { text: 'this quote is not closed', offset: opened?.at ?? offset };
  }
  return /followed by map values/.test(message) ? lineSlip(text, offset) : undefined;
}

function unexpected(
  text: string,
  offset: number,
  message: string,
): string | { text: string; offset: number } | undefined {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const before = text.slice(start, offset);
  if (/^[}\]]/.test(text.slice(offset))) return `${text.charAt(offset)} closes what nothing opened`;
  if (/Unexpected , in/.test(message)) return 'there is a comma too many';
  if (/["']\s*$/.test(before))
    return 'text goes on after the closing quote: inside "…" a quote is written \\", inside \'…\' it is written twice';
  if (/block-seq-ind/.test(message)) return 'a value that begins with "- " must stand in quotes';
  const section = /^\[([\w.-]+)\]\s*$/m.exec(text.slice(0, start))?.[1];
  if (before === '' && section !== undefined)
    return `[${section}] begins a section in TOML and INI files; in YAML write ${shown(`${section}:`)} and indent its keys`;
  if (before === '' && /node end/.test(message))
    return 'this line begins further left than the first one: keys of one section begin in the same column';
  return undefined;
}

function unclosed(text: string, offset: number): { text: string; offset: number } {
  const opened: number[] = [];
  for (const { token, at } of tokensOf(text)) {
    if (at >= offset) break;
    if (token === '{' || token === '[') opened.push(at);
    if (token === '}' || token === ']') opened.pop();
  }
  const from = opened.at(-1) ?? offset;
  return { text: `this ${text.charAt(from)} is not closed`, offset: from };
}

/** Marks of the lexer that stand for no text: a document begins, a mapping in braces ends, a plain scalar follows. */
const marks = ['\u0002', '\u0018', '\u001f'];

function tokensOf(text: string): { token: string; at: number }[] {
  let at = 0;
  return [...new Lexer().lex(text)]
    .filter((token) => !marks.includes(token))
    .map((token) => {
      const place = { token, at };
      at += token.length;
      return place;
    });
}

/** The rest of the line, without the comment. */
const textFrom = (text: string, offset: number): string =>
  (/^[^\r\n]*/.exec(text.slice(offset))?.[0] ?? '').replace(/\s+#.*$/, '').trimEnd();
