import type { Reason, Sizes } from './refusal.js';
import type { Sorted } from './sort-names.js';

/** Kinds of numbers that weights are stored in; others are quantised, or no weights. */
const WEIGHT_DTYPES: readonly string[] = ['F64', 'F32', 'F16', 'BF16'];

/** Layers that are no ViT's though their names are. */
export function foreignLayers(ours: Sorted['ours'], is: Sizes): Reason[] {
  const reasons: Reason[] = [];
  const shapeOf = (name: string): number[] | undefined => ours.get(name)?.entry.shape;
  const positions = shapeOf('pos_embed');
  const posName = ours.get('pos_embed')?.tensor ?? 'pos_embed';
  const grid = (positions?.[1] ?? 0) ** 0.5;
  if (!ours.has('cls_token'))
    reasons.push({
      what: 'no class token: its head reads the mean of all patches, or pools them by attention',
      names: ['cls_token'],
    });
  if (positions === undefined) reasons.push({ what: 'no position embeddings that are learned', names: ['pos_embed'] });
  else if (positions.length !== 3 || positions[0] !== 1 || positions[2] !== is.embedDim)
    reasons.push({
      what: `position embeddings of the form [${positions.join(', ')}]; expected [1, tokens, ${is.embedDim}]`,
      names: [posName],
    });
  else if (ours.has('cls_token') && Number.isInteger(grid))
    reasons.push({
      what: `position embeddings of ${positions[1]} tokens: ${grid} × ${grid} patches, without the class token (no_embed_class)`,
      names: [posName],
    });
  else if (ours.has('cls_token') && !Number.isInteger(((positions[1] ?? 0) - 1) ** 0.5))
    reasons.push({
      what: `position embeddings of ${positions[1]} tokens, which are no square of patches and a class token`,
      names: [posName],
    });
  const kernel = shapeOf('patch_embed.proj.weight');
  const kernelName = ours.get('patch_embed.proj.weight')?.tensor ?? '';
  if (kernel !== undefined && kernel.length !== 4)
    reasons.push({
      what: `patches by a kernel of the form [${kernel.join(', ')}]; expected [${is.embedDim}, 3, patch, patch]`,
      names: [kernelName],
    });
  else if (kernel !== undefined && kernel[1] !== 3)
    reasons.push({ what: `made for images with channels: ${kernel[1]}; gqa’s have 3`, names: [kernelName] });
  else if (kernel !== undefined && kernel[2] !== kernel[3])
    reasons.push({ what: `patches of ${kernel[2]} × ${kernel[3]} pixels; gqa’s are square`, names: [kernelName] });
  const [fc1, fc2] = [shapeOf('blocks.0.mlp.fc1.weight'), shapeOf('blocks.0.mlp.fc2.weight')];
  if (fc1 !== undefined && fc2 !== undefined && fc1[0] === 2 * (fc2[1] as number))
    reasons.push({
      what: 'a gated MLP (SwiGLU): fc1 has twice the outputs that fc2 reads',
      names: [ours.get('blocks.0.mlp.fc1.weight')?.tensor ?? ''],
    });
  const norms = [...ours.keys()].filter((name) => /(^|\.)norm[12]?\.weight$/.test(name));
  if (norms.length > 0 && norms.every((name) => !ours.has(name.replace('.weight', '.bias'))))
    reasons.push({
      what: 'norms without a bias (RMS norm, or a layer norm with bias=False)',
      names: norms.map((name) => ours.get(name)?.tensor ?? name),
    });
  const stored = [...ours.values()].filter(({ entry }) => !WEIGHT_DTYPES.includes(entry.dtype));
  if (stored.length > 0)
    reasons.push({
      what: `weights stored as ${[...new Set(stored.map(({ entry }) => entry.dtype))].join(', ')} (quantised?); gqa reads ${WEIGHT_DTYPES.join(', ')}`,
      names: stored.map(({ tensor }) => tensor),
    });
  return reasons;
}
