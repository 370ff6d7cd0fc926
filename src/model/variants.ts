/**
 * The variants of grouped-query attention: what a step does besides plain grouping. One line each; a variant is a set
 * of hooks, and an absent hook means plain GQA. MHA and MQA are GQA with K = H and K = 1; a name may also stand for a
 * way of converting (the config's `model.grouping` and `model.merge`) whose step is plain GQA.
 */
import { dgqaDiff, dgqaEma } from './variants/dgqa.js';
import type { Variant } from './variants/hooks.js';
import { kdgqa } from './variants/kdgqa.js';
import { pgqa } from './variants/pgqa.js';
import { wgqa } from './variants/wgqa.js';

/** A name of the table below; the config's schema checks it when a config is read. */
export type VariantName = string;

/** A test may add a line of its own. */
export const VARIANTS: Record<VariantName, Variant> = {
  mha: { kvHeads: 'all' },
  mqa: { kvHeads: 'one' },
  gqa: {},
  kdgqa: { allocate: kdgqa },
  'dgqa-diff': { allocate: dgqaDiff },
  'dgqa-ema': { allocate: dgqaEma },
  pgqa: { perturb: pgqa },
  wgqa: wgqa('scalar', 'mean'),
  'wgqa-out': wgqa('out', 'mean'),
  'wgqa-in': wgqa('in', 'mean'),
  'wgqa-random': wgqa('scalar', 'random'),
  'wgqa-out-random': wgqa('out', 'random'),
  'wgqa-in-random': wgqa('in', 'random'),
  qcqa: { conversion: { grouping: 'qcqa-ac' } },
  'qcqa-ec': { conversion: { grouping: 'qcqa-ec' } },
  asymgqa: { conversion: { grouping: 'asym' } },
  'asymgqa-sym': { conversion: { grouping: 'asym-sym' } },
  rotated: { conversion: { merge: 'rotated' } },
  basis: { conversion: { merge: 'basis' } },
  'basis-budget': {
    conversion: { grouping: 'basis-free', merge: 'basis', groupValues: 'apart', shareOut: true },
  },
};

/** @throws Error for a name that is not in the table, which no config has */
export function variantOf(name: VariantName): Variant {
  const variant = VARIANTS[name];
  if (variant === undefined) throw new Error(`no variant is named ${name}`);
  return variant;
}
