/** A file that is wanted, whatever for: what must come, to the byte. */
export interface Wanted {
  url: string;
  /** The file's name, for messages. */
  file: string;
  bytes: number;
  /** In hexadecimal; null where nobody published one. Without either, the number of bytes alone is compared. */
  sha256: string | null;
  md5: string | null;
  /** Sent to the host of `url` alone, not to where it redirects. */
  authorization?: string | undefined;
  /** What else a user can do, as the hint of errors. */
  otherwise: string;
}
