/** How images are read, whatever is made of them: what a whole pipeline has in common. */
import type { Config } from '../config/schema.js';

export interface Reading {
  /**
   * `error`: an image that cannot be read, or that libjpeg warns about, ends the run, naming it; `skip`: it counts for
   * nothing and is listed; `warn`: one that libjpeg warns about is decoded as far as it goes and listed, one that
   * cannot be read ends the run.
   */
  onBadImage: Config['data']['onBadImage'];
  /** An image of more pixels is bad, and is not decoded. */
  maxPixels: number;
  /** Seconds after which work on one image is given up. */
  timeoutS: number;
  /** Folder of decoded images; null: none. */
  cache: string | null;
  /** Bound of that folder, in 10⁹ bytes. */
  cacheGb: number;
}

export const DEFAULT_READING: Reading = {
  onBadImage: 'warn',
  maxPixels: 50_000_000,
  timeoutS: 60,
  cache: null,
  cacheGb: 20,
};
