/**
 * `~` in paths. A shell expands it at the beginning of a word only: not in `--set model.pretrained=~/vit.safetensors`,
 * and never in a file. No package is imported here.
 */
import os from 'node:os';
import path from 'node:path';

/**
 * The path with `~` or `~/` at its beginning replaced by the home folder; null for another user's home (`~ann/x`),
 * which is not looked up. `./~x` is a name with a tilde.
 */
export function expandHome(text: string): string | null {
  if (!text.startsWith('~')) return text;
  if (text === '~') return os.homedir();
  return /^~[/\\]/.test(text) ? path.join(os.homedir(), text.slice(2)) : null;
}

export const notExpanded = 'only ~ and ~/ are expanded: write the folder out, or ./ before a name that begins with ~';
