/** UTC, to the second, in a form that every file system takes: 20261122T161500Z. */
export function timeStamp(): string {
  return new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:]/g, '');
}
