/**
 * Writes pickles as Python 2 wrote CIFAR's: protocol 2, texts as its str (bytes), every value remembered, lists in
 * parts of 1,000.
 */

export interface Bytes2d {
  rows: number;
  columns: number;
  bytes: Uint8Array;
}

type Entry = string | string[] | number[] | Bytes2d;

/** A pickled dictionary. @param core the module that NumPy's `_reconstruct` is said to be in */
export function pickled(entries: Record<string, Entry>, core = 'numpy.core.multiarray'): Buffer {
  const parts: Uint8Array[] = [];
  let memo = 0;
  const put = (...bytes: (number | string | Uint8Array)[]): void => {
    for (const part of bytes)
      parts.push(
        typeof part === 'number' ? Buffer.of(part) : typeof part === 'string' ? Buffer.from(part, 'latin1') : part,
      );
  };
  const u4 = (n: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(n);
    return bytes;
  };
  const remember = (): void => {
    if (memo < 256) put('q', memo);
    else put('r', u4(memo));
    memo++;
  };
  const text = (value: string): void => {
    put('U', value.length, value);
    remember();
  };
  const number = (n: number): void => {
    if (n < 256) put('K', n);
    else put('J', u4(n));
  };
  const list = <T>(items: T[], write: (item: T) => void): void => {
    put(']');
    remember();
    for (let start = 0; start < items.length; start += 1000) {
      put('(');
      items.slice(start, start + 1000).forEach(write);
      put('e');
    }
  };
  const remembered = (...bytes: (number | string | Uint8Array)[]): void => {
    put(...bytes);
    remember();
  };
  const array = ({ rows, columns, bytes }: Bytes2d): void => {
    remembered(`c${core}\n_reconstruct\n`);
    remembered('cnumpy\nndarray\n');
    remembered('K\0\x85');
    text('b');
    remembered('\x87');
    remembered('R');
    put('(K\x01');
    number(rows);
    number(columns);
    remembered('\x86');
    remembered('cnumpy\ndtype\n');
    text('u1');
    remembered('K\0K\x01\x87');
    remembered('R');
    put('(K\x03');
    text('|');
    remembered('NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t');
    put('b\x89');
    remembered('T', u4(bytes.length), bytes);
    remembered('t');
    put('b');
  };
  put('\x80\x02');
  remembered('}');
  put('(');
  for (const [key, value] of Object.entries(entries)) {
    text(key);
    if (typeof value === 'string') text(value);
    else if (!Array.isArray(value)) array(value);
    else if (typeof value[0] === 'string') list(value as string[], text);
    else list(value as number[], number);
  }
  put('u.');
  return Buffer.concat(parts);
}
