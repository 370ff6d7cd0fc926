/** How far a model's outputs are from another's: on the host, from logits. */

/**
 * @param of and @param ours logits [B · C] on the same images
 * @returns the mean KL divergence of the softmax of `ours` from that of `of`, in nats, and the part of the images to
 *   which
 *   both give the same class
 */
export function compared(of: Float32Array, ours: Float32Array, classes: number): { divergence: number; same: number } {
  const images = of.length / classes;
  let [divergence, same] = [0, 0];
  for (let image = 0; image < images; image++) {
    const [p, q] = [of, ours].map((all) => all.subarray(image * classes, (image + 1) * classes)) as [
      Float32Array,
      Float32Array,
    ];
    const [logP, logQ] = [logSoftmax(p), logSoftmax(q)];
    divergence += logP.reduce((sum, value, i) => sum + Math.exp(value) * (value - (logQ[i] as number)), 0);
    if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) same++;
  }
  return { divergence: divergence / images, same: same / images };
}

function logSoftmax(logits: Float32Array): number[] {
  const highest = Math.max(...logits);
  const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value - highest), 0));
  return Array.from(logits, (value) => value - highest - total);
}
