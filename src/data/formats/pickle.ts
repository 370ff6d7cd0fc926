/**
 * The part of Python's pickle format, protocol 2, that CIFAR's python version is written in, read as data: nothing is
 * imported, called or executed. A name of Python code is accepted only when it is one that NumPy's arrays are written
 * with, and then stands for itself; every other instruction and name is refused with its byte offset. Format: Python's
 * Lib/pickletools.py; the state of an array: numpy.ndarray.__setstate__.
 */
import { GqaError } from '../../errors.js';

/** `bytes` are Python 2's str. Lists and tuples are arrays; keys of dictionaries are texts. */
export type PickleValue =
  | number
  | boolean
  | null
  | string
  | Buffer
  | PickleValue[]
  | Map<string, PickleValue>
  | NumpyArray;

/** An array of unsigned bytes in C order. */
export class NumpyArray {
  readonly shape: number[];
  /** A view into the file's bytes. */
  readonly data: Buffer;

  constructor(shape: number[], data: Buffer) {
    this.shape = shape;
    this.data = data;
  }
}

/** What stands on the stack besides values while an array is being put together. */
type Item = PickleValue | Name | Unfinished;

class Name {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** An array or a number type that has not got its state yet. */
class Unfinished {
  readonly of: 'array' | 'dtype';
  array: NumpyArray | undefined;
  /** Of a dtype: its text, e.g. `u1`. */
  readonly type: string;
  constructor(of: 'array' | 'dtype', type = '') {
    this.of = of;
    this.type = type;
  }
}

/** NumPy renamed its inner module in version 2. */
const NAMES = [
  'numpy.core.multiarray _reconstruct',
  'numpy._core.multiarray _reconstruct',
  'numpy ndarray',
  'numpy dtype',
];

const MARK = Symbol('mark');
type Slot = Item | typeof MARK;

/** More than CIFAR's files hold on their stack; nothing else bounds what is remembered but the length of the file. */
const MAX_STACK = 1_000_000;

/**
 * Reads one pickled value.
 * @param path names the bytes in messages
 * Errors: exit 3 with the byte offset, for all that is not of the form above, for a cut file, and for bytes after the
 * end.
 */
export function readPickle(bytes: Buffer, path: string): PickleValue {
  const stack: Slot[] = [];
  const memo = new Map<number, Item>();
  let at = 0;
  /** Where the instruction in work begins. */
  let start = 0;

  const refuse = (found: string): GqaError =>
    new GqaError('data', `${path}: ${found} at byte ${start}`, {
      hint: 'Only the files of the official "python version" of CIFAR are read, as data; nothing in a pickle is executed. Get the file afresh, or use the binary version.',
    });
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw refuse(`the file ends at byte ${bytes.length}, within an instruction`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const u1 = (): number => take(1)[0] ?? 0;
  const i4 = (): number => take(4).readInt32LE();
  const u4 = (): number => take(4).readUInt32LE();
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end < 0 || end - at > 200) throw refuse('a name without an end');
    const text = take(end - at).toString('latin1');
    take(1);
    return text;
  };
  const push = (item: Slot): void => {
    if (stack.length >= MAX_STACK) throw refuse(`more than ${MAX_STACK} values at once`);
    stack.push(item);
  };
  const pop = (): Item => {
    const item = stack.pop();
    if (item === undefined || item === MARK) throw refuse('an instruction without its values');
    return item;
  };
  /** A value that is complete, not a part of an array. */
  const value = (item: Item): PickleValue => {
    if (item instanceof Name) throw refuse(`the name ${item.name} as a value`);
    if (!(item instanceof Unfinished)) return item;
    if (item.array === undefined) throw refuse(`a NumPy ${item.of} as a value`);
    return item.array;
  };
  const popToMark = (): Item[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark < 0) throw refuse('an instruction without its mark');
    const items = stack.splice(mark) as Item[];
    return items.slice(1);
  };
  const top = <T extends Item>(kind: (item: Item) => item is T, name: string): T => {
    const item = stack.at(-1);
    if (item === undefined || item === MARK || !kind(item))
      throw refuse(`an instruction for a ${name}, but there is none`);
    return item;
  };
  const isList = (item: Item): item is PickleValue[] => Array.isArray(item);
  const isMap = (item: Item): item is Map<string, PickleValue> => item instanceof Map;
  const append = (items: Item[]): void => {
    const list = top(isList, 'list');
    for (const item of items) list.push(value(item));
  };
  const setItems = (items: Item[]): void => {
    const map = top(isMap, 'dictionary');
    if (items.length % 2 !== 0) throw refuse('a key without a value');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i] as Item;
      if (typeof key !== 'string' && !Buffer.isBuffer(key)) throw refuse('a key that is no text');
      map.set(typeof key === 'string' ? key : key.toString('latin1'), value(items[i + 1] as Item));
    }
  };
  const recall = (key: number): void => {
    const item = memo.get(key);
    if (item === undefined) throw refuse(`a reference to ${key}, which was not remembered`);
    push(item);
  };
  const remember = (key: number): void => {
    const item = stack.at(-1);
    if (item === undefined || item === MARK) throw refuse('nothing to remember');
    memo.set(key, item);
  };
  /** `_reconstruct(ndarray, (0,), 'b')` and `dtype('u1', 0, 1)`, the two calls that are known: neither is made. */
  const reduce = (): void => {
    const args = pop();
    const callee = pop();
    if (!(callee instanceof Name) || !Array.isArray(args)) throw refuse('a call of what is no name');
    if (callee.name.endsWith('_reconstruct')) push(new Unfinished('array'));
    else if (callee.name === 'numpy dtype') push(new Unfinished('dtype', asText(args[0])));
    else throw refuse(`a call of ${callee.name}`);
  };
  const build = (): void => {
    const state = pop();
    const target = top((item): item is Unfinished => item instanceof Unfinished, 'NumPy array');
    if (target.of === 'dtype') return; // byte order and alignment: a byte has neither
    const [, shape, dtype, fortran, data] = Array.isArray(state) ? (state as Item[]) : [];
    const type = dtype instanceof Unfinished ? dtype.type : 'unknown';
    if (type !== 'u1' || fortran !== false)
      throw refuse(`an array of type ${type}${fortran === false ? '' : ', not in C order'}; expected u1`);
    if (
      !Array.isArray(shape) ||
      !shape.every((n): n is number => typeof n === 'number' && n >= 0) ||
      !Buffer.isBuffer(data)
    ) {
      throw refuse('an array without shape or bytes');
    }
    const length = shape.reduce((product, n) => product * n, 1);
    if (data.length !== length) throw refuse(`an array of shape ${shape.join(' × ')} with ${data.length} bytes`);
    target.array = new NumpyArray(shape, data);
  };
  const tuple = (count: number): void => {
    push(Array.from({ length: count }, pop).reverse() as PickleValue[]);
  };
  const global = (): void => {
    const name = `${line()} ${line()}`;
    if (!NAMES.includes(name)) throw refuse(`the name "${name}", which is code of Python,`);
    push(new Name(name));
  };
  const protocol = (): void => {
    const version = u1();
    if (version !== 2) throw refuse(`pickle protocol ${version}; expected 2,`);
  };

  /** By code; names as in pickletools. */
  const instructions: Record<number, () => void> = {
    128: protocol, // PROTO
    40: () => push(MARK), // MARK
    125: () => push(new Map()), // EMPTY_DICT
    93: () => push([]), // EMPTY_LIST
    41: () => push([]), // EMPTY_TUPLE
    78: () => push(null), // NONE
    136: () => push(true), // NEWTRUE
    137: () => push(false), // NEWFALSE
    75: () => push(u1()), // BININT1
    77: () => push(take(2).readUInt16LE()), // BININT2
    74: () => push(i4()), // BININT
    85: () => push(take(u1())), // SHORT_BINSTRING
    84: () => push(take(u4())), // BINSTRING
    88: () => push(take(u4()).toString('utf8')), // BINUNICODE
    113: () => remember(u1()), // BINPUT
    114: () => remember(u4()), // LONG_BINPUT
    104: () => recall(u1()), // BINGET
    106: () => recall(u4()), // LONG_BINGET
    133: () => tuple(1), // TUPLE1
    134: () => tuple(2), // TUPLE2
    135: () => tuple(3), // TUPLE3
    116: () => push(popToMark() as PickleValue[]), // TUPLE
    97: () => append([pop()]), // APPEND
    101: () => append(popToMark()), // APPENDS
    115: () => setItems([pop(), pop()].reverse()), // SETITEM
    117: () => setItems(popToMark()), // SETITEMS
    99: global, // GLOBAL
    82: reduce, // REDUCE
    98: build, // BUILD
  };
  const STOP = 46;

  if (bytes[0] !== 0x80) throw refuse('no pickle of protocol 2');
  for (;;) {
    start = at;
    const code = u1();
    if (code === STOP) break;
    const instruction = instructions[code];
    if (instruction === undefined)
      throw refuse(`instruction 0x${code.toString(16).padStart(2, '0')}, which CIFAR's files do not use,`);
    instruction();
  }
  const result = value(pop());
  if (stack.length > 0) throw refuse('an end with values left over');
  start = at;
  if (at !== bytes.length) throw refuse(`${bytes.length - at} bytes after the end`);
  return result;
}

const asText = (item: Item | undefined): string =>
  Buffer.isBuffer(item) ? item.toString('latin1') : typeof item === 'string' ? item : '';
