/** A number with what it counts, in the singular or the plural: the one place that decides. */

/**
 * `1 image`, `2 images`, `0 classes`, `1 KV head`
 * @param what in the singular; its last word is what changes. @param number as it is shown, where that is not its
 *   digits alone: `2,000`
 */
export function counted(count: number, what: string, number = String(count)): string {
  return `${number} ${count === 1 ? what : plural(what)}`;
}

function plural(what: string): string {
  if (/(s|x|[^o]ch|sh)$/.test(what)) return `${what}es`;
  return /[^aeiou]y$/.test(what) ? `${what.slice(0, -1)}ies` : `${what}s`;
}
