/** A variant's own parameters folded into plain keys and values, so that the model can be evaluated anywhere. */
import { parameterSpecs, type Values } from '../model/params.js';
import { layerShapes, type ModelShape } from '../model/sizes.js';
import { type VariantName, variantOf } from '../model/variants.js';
import { attentionOf, valuesOf } from './convert.js';

/**
 * @param shape of the variant. @returns values of plain GQA of the same shape; those of a variant without `fold` as
 * they are
 */
export function folded(values: Values, shape: ModelShape, variant: VariantName): Values {
  const { fold, params } = variantOf(variant);
  if (fold === undefined) return values;
  const all: Values = { ...values };
  for (const layer of layerShapes(shape)) {
    const prefix = `blocks.${layer.index}.`;
    const added = Object.fromEntries(
      Object.keys(params?.(layer) ?? {}).map((name) => [name, values[`${prefix}${name}`] as Float32Array]),
    );
    Object.assign(all, valuesOf(fold(attentionOf(values, layer.index), added, layer), layer.index));
  }
  return Object.fromEntries(Object.keys(parameterSpecs(shape)).map((name) => [name, all[name] as Float32Array]));
}
