/**
 * A budget of KV heads shared out over layers so that their errors together are least: exact, layer by layer over what
 * the layers before it leave.
 */

/**
 * @param errors for each layer the error with K heads at index K; null or left out where it cannot have K
 * @param budget KV heads of all layers together, of which not all need be used
 * @returns      KV heads of each layer; null when there are too few for the least that layers can have
 */
export function shareOut(errors: readonly (readonly (number | null | undefined)[])[], budget: number): number[] | null {
  let before = new Array<number>(budget + 1).fill(0);
  const chosen: number[][] = [];
  for (const layer of errors) {
    const best = new Array<number>(budget + 1).fill(Number.POSITIVE_INFINITY);
    const own = new Array<number>(budget + 1).fill(0);
    for (let left = 1; left <= budget; left++)
      for (let k = 1; k < layer.length && k <= left; k++) {
        const error = layer[k];
        if (typeof error !== 'number') continue;
        const sum = error + (before[left - k] as number);
        if (sum < (best[left] as number)) {
          best[left] = sum;
          own[left] = k;
        }
      }
    chosen.push(own);
    before = best;
  }
  if (!Number.isFinite(before[budget])) return null;
  let left = budget;
  return chosen
    .reverse()
    .map((own) => {
      const k = own[left] as number;
      left -= k;
      return k;
    })
    .reverse();
}
