/** A JPEG’s own structure: size and kind of its frame, and whether it ends as it should. */

/** Is there an end of image in the last bytes? Some writers put a few bytes behind it. */
export const hasEnd = (encoded: Buffer): boolean => encoded.subarray(-64).includes('ffd9', 'hex');

export interface JpegFrame {
  /** Each image part once, Huffman-coded: baseline and extended sequential, of 8 bits. */
  sequential: boolean;
  height: number;
  width: number;
  components: number;
}

/** A segment of a JPEG: its marker's second byte, where that stands, and how long the segment is without the marker. */
interface Segment {
  marker: number;
  at: number;
  length: number;
}

const START_OF_SCAN = 0xda;
const END_OF_IMAGE = 0xd9;
const START_OF_IMAGE = 0xd8;
/** Start of frame: C0 to CF without the tables DHT, JPG and DAC. */
const isFrame = (marker: number): boolean => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
const RESTART_INTERVAL = 0xdd;
const isRestart = (marker: number): boolean => marker >= 0xd0 && marker <= 0xd7;
/** 01 is TEM, 02 to bf are reserved: nobody knows of a length. */
const standsAlone = (marker: number): boolean =>
  isRestart(marker) || marker === START_OF_IMAGE || marker === END_OF_IMAGE || marker < 0xc0;

/**
 * The segments from a byte on, as libjpeg finds them: what is no marker is passed over, a marker may be padded with ff,
 * and ff 00 is none. Format: ITU-T T.81, B.1.
 */
function* segments(bytes: Buffer, from: number): Generator<Segment, void, undefined> {
  for (let at = bytes.indexOf(0xff, from); at >= 0; ) {
    while (bytes[at] === 0xff) at++;
    const marker = bytes[at];
    if (marker === undefined) return;
    const length = standsAlone(marker) || at + 2 >= bytes.length ? 0 : Math.max(2, bytes.readUInt16BE(at + 1));
    if (marker !== 0) yield { marker, at, length };
    at = bytes.indexOf(0xff, at + 1 + length);
  }
}

/** A JPEG's frame header; null: there is none before the first scan. Format: ITU-T T.81, B.2.2. */
export function jpegFrame(bytes: Buffer): JpegFrame | null {
  for (const { marker, at } of segments(bytes, 2)) {
    if ([START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN].includes(marker) || marker < 0xc0) return null;
    if (!isFrame(marker)) continue;
    if (at + 8 >= bytes.length) return null;
    const sequential = marker <= 0xc1 && bytes[at + 3] === 8;
    return {
      sequential,
      height: bytes.readUInt16BE(at + 4),
      width: bytes.readUInt16BE(at + 6),
      components: bytes[at + 8] ?? 0,
    };
  }
  return null;
}

/**
 * What libjpeg passes over behind the last scan: restarts, DNL, APP0 to APP15, comments. Tables are there too rare to
 * be looked into.
 */
const mayFollow = (marker: number): boolean =>
  isRestart(marker) || marker === 0x01 || marker === 0xdc || (marker >= 0xe0 && marker <= 0xef) || marker === 0xfe;

/**
 * Is there nothing behind the scan of a JPEG but what may stand there? Pillow reads up to the end of image, or of the
 * file, and refuses what it finds else; sharp stops with the last row. True where there are several scans: all are read
 * before the first row, so that sharp refuses for itself.
 */
export function endsWell(bytes: Buffer): boolean {
  let frame: { marker: number; components: number } | null = null;
  let restarts = false;
  let inScan = false;
  let unknown = false;
  for (const { marker, at } of segments(bytes, 2)) {
    if (inScan) {
      if (marker === END_OF_IMAGE) return !unknown;
      if (isRestart(marker)) unknown = false;
      else if (restarts && marker < 0xc0)
        unknown = true; // passed over on the way to the next restart
      else if (!mayFollow(marker)) return false;
    }
    if (isFrame(marker)) frame = { marker, components: bytes[at + 8] ?? 0 };
    if (marker === RESTART_INTERVAL) restarts = bytes[at + 3] !== 0 || bytes[at + 4] !== 0;
    if (marker !== START_OF_SCAN) continue;
    const several =
      frame !== null && (frame.marker === 0xc2 || frame.marker === 0xca || (bytes[at + 3] ?? 0) < frame.components);
    if (several) return true;
    inScan = true;
  }
  return inScan && !unknown;
}
