/** What the commands that only look at images share: the config with what its checkpoint says of them. */
import { existsSync } from 'node:fs';
import { resolvePreprocessing } from '../checkpoint/preprocessing.js';
import type { Config } from '../config/schema.js';
import { say } from './say.js';

/** Said on stderr. A checkpoint that is not there yet hinders nobody from looking at images, but is reported too. */
export function withPreprocessing(config: Config): Config {
  const { pretrained } = config.model;
  const missing = pretrained !== null && !existsSync(pretrained);
  const resolved = resolvePreprocessing(config, missing ? null : pretrained);
  if (missing) say(`${pretrained} is not there: images as the config alone has them`);
  for (const line of [...resolved.notices, ...resolved.warnings]) say(line);
  return resolved.config;
}
