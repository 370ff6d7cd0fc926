/**
 * Writes scripts/wheels/cuda.txt: the `tensorflow` wheel with CUDA 12 and every nvidia-* wheel that its extra
 * `and-cuda` asks for, each with version and SHA-256, as pip resolves them. Run by a maintainer when TENSORFLOW_VERSION
 * changes; needs a network, downloads no library (only the wheels' metadata).
 *
 *   node scripts/cuda-wheels.mjs
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { TENSORFLOW_VERSION, WHEEL_TAGS } from './libtensorflow.mjs';

const folder = mkdtempSync(path.join(os.tmpdir(), 'gqa-cuda-wheels-'));
try {
  const report = path.join(folder, 'report.json');
  const call = [
    '-m',
    'pip',
    'install',
    '--dry-run',
    '--quiet',
    '--ignore-installed',
    '--only-binary=:all:',
    '--target',
    folder,
    ...WHEEL_TAGS,
  ];
  const result = spawnSync('python3', [...call, '--report', report, `tensorflow[and-cuda]==${TENSORFLOW_VERSION}`], {
    stdio: 'inherit',
  });
  if (result.status !== 0) throw new Error('pip could not resolve the wheels (its words are above)');
  const resolved = JSON.parse(readFileSync(report, 'utf8')).install.map(({ metadata, download_info: download }) => ({
    name: metadata.name.toLowerCase().replace(/[-_.]+/g, '-'),
    version: metadata.version,
    sha256: download.archive_info?.hashes?.sha256,
  }));
  // Everything else that tensorflow asks for is Python, which is never run.
  const wanted = resolved.filter(({ name }) => name === 'tensorflow' || name.startsWith('nvidia-'));
  const unhashed = wanted.filter(({ sha256 }) => sha256 === undefined);
  if (wanted.length < 2 || unhashed.length > 0)
    throw new Error(`pip's report has no hash of ${unhashed.map(({ name }) => name).join(', ') || 'any nvidia wheel'}`);
  const lines = wanted
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, version, sha256 }) => `${name}==${version} --hash=sha256:${sha256}`);
  const header =
    '# libtensorflow for CUDA 12 and the CUDA libraries it looks for beside itself. Written by scripts/cuda-wheels.mjs.';
  const place = fileURLToPath(new URL('./wheels/cuda.txt', import.meta.url));
  writeFileSync(`${place}.tmp`, `${[header, ...lines].join('\n')}\n`);
  renameSync(`${place}.tmp`, place);
  console.log(`${wanted.length} wheels → ${path.relative(process.cwd(), place)}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
