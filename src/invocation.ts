/**
 * How this program is called from where the user stands: hints and help print commands that work there. It loads
 * nothing but Node's own modules.
 */
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from './version.js';

/** Where the user stands; tests give their own. */
export interface Standing {
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** The project's folder, links resolved. */
  project: string;
}

const standing = (): Standing => ({ cwd: process.cwd(), env: process.env, project: packageRoot });

/**
 * What stands for `gqa` in a command: `gqa` where that is this program (after `npm install -g .` or `npm link`), `npx
 * gqa` inside the project's folder, else Node with the file: elsewhere npx would ask npm's registry for a package of
 * that name, which is not ours.
 */
export function calledAs(at: Standing = standing()): string {
  if (isOnPath(at)) return 'gqa';
  return isInside(at) ? 'npx gqa' : `node ${quoted(path.join(at.project, 'bin', 'gqa.js'))}`;
}

/** A whole command: `command('data fetch cifar10')`. */
export const command = (args: string, at: Standing = standing()): string => `${calledAs(at)} ${args}`;

/**
 * An npm script of the project: `npm run setup`, with the folder where the user stands elsewhere.
 * @param args after the script's name, such as `-- --cuda`
 */
export function npmRun(script: string, args = '', at: Standing = standing()): string {
  return `npm ${isInside(at) ? '' : `--prefix ${quoted(withoutSlash(at.project))} `}run ${script}${args === '' ? '' : ` ${args}`}`;
}

/** The project's folder where a path of it would not be found from where the user stands, else null. */
export function projectElsewhere(at: Standing = standing()): string | null {
  return real(at.cwd) === real(at.project) ? null : withoutSlash(at.project);
}

/** A file of the project as it is found from where the user stands. */
export function projectFile(file: string, at: Standing = standing()): string {
  const elsewhere = projectElsewhere(at);
  return elsewhere === null ? file : path.join(elsewhere, file);
}

/** The first `gqa` of the PATH decides. Folders that npm and npx put before it for a moment are none of the user's. */
function isOnPath({ env, project }: Standing): boolean {
  const folders = (env.PATH ?? env.Path ?? '')
    .split(path.delimiter)
    .filter((folder) => folder !== '' && !/node_modules[/\\]\.bin[/\\]?$/.test(folder));
  for (const folder of folders) {
    if (existsSync(path.join(folder, 'gqa.cmd')))
      return real(path.join(folder, 'node_modules', 'gqa')) === real(project); // npm's shim on Windows
    const file = path.join(folder, 'gqa');
    if (existsSync(file)) return real(file) === real(path.join(project, 'bin', 'gqa.js'));
  }
  return false;
}

/**
 * In the project's folder or below it, as npm and npx look for it: a folder with a package.json of its own is another
 * project.
 */
function isInside({ cwd, project }: Standing): boolean {
  for (let folder = real(cwd); ; folder = path.dirname(folder)) {
    if (folder === real(project)) return true;
    if (existsSync(path.join(folder, 'package.json')) || existsSync(path.join(folder, 'node_modules'))) return false;
    if (folder === path.dirname(folder)) return false;
  }
}

function real(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return path.resolve(file); // not there (any more)
  }
}

const withoutSlash = (folder: string): string =>
  path.dirname(folder) === folder ? folder : folder.replace(/[/\\]$/, '');

/** For a shell: in quotes where it holds more than letters, digits and what paths are made of. */
export const quoted = (file: string): string =>
  /^[\w@%+=:,./\\~-]+$/.test(file)
    ? file
    : process.platform === 'win32'
      ? `"${file}"`
      : `'${file.replaceAll("'", "'\\''")}'`;
