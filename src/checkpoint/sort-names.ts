/** What every tensor of a file is: a parameter of ours, something to leave out, or a reason to refuse the file. */
import { extraOf, LEFT_OUT, REFUSED } from './extras.js';
import { isAveraged, ourName, type Place, withoutWrappers } from './names.js';
import type { Safetensors, TensorEntry } from './safetensors.js';

/** The file's tensors, by what they are. */
export interface Sorted {
  /** Our name (q, k and v still fused where they are; `blocks.0.ls1.gamma`) → the tensor. */
  ours: Map<string, { tensor: string; entry: TensorEntry }>;
  /** What it is → the names. */
  leftOut: Map<string, string[]>;
  refused: Map<string, string[]>;
  unknown: string[];
  /** Tensors of a head that is no linear layer, or not the model's own. */
  otherHead: string[];
  /** A head beside the model, where the model has none: its name. */
  outsideHead: string | null;
}

const HEAD = /^(?:heads?|classifier|fc|cls_head|linear)\./;
const LINEAR_HEAD = /^(?:head|classifier|fc|heads(?:\.head)?|linear)\.(weight|bias)$/;
/** Heads that begin with something that is in `REFUSED`. */
const POOLED_HEAD = /^head\.(?:norm|fc_norm|attention|probe)\b/;

/** @param own names that a checkpoint of ours has */
export function sortNames(file: Safetensors, place: Place, places: readonly Place[], own: ReadonlySet<string>): Sorted {
  const sorted: Sorted = {
    ours: new Map(),
    leftOut: new Map(),
    refused: new Map(),
    unknown: [],
    otherHead: [],
    outsideHead: null,
  };
  const add = (to: Map<string, string[]>, what: string, name: string): unknown =>
    to.set(what, [...(to.get(what) ?? []), name]);
  const rest: { tensor: string; entry: TensorEntry; name: string; within: string; inside: boolean }[] = [];
  for (const [tensor, entry] of file.tensors) {
    const name = withoutWrappers(tensor);
    const inside = name.startsWith(place.prefix);
    const within = relativeTo(place.prefix, name);
    const ours = inside ? (ourName(place.scheme, within) ?? (own.has(within) ? within : null)) : null;
    if (ours === null) rest.push({ tensor, entry, name, within, inside });
    else if (sorted.ours.has(ours)) add(sorted.refused, 'two tensors for one place', tensor);
    else sorted.ours.set(ours, { tensor, entry });
  }
  const ownHead = sorted.ours.has('head.weight');
  const others = places
    .filter(({ prefix }) => prefix !== place.prefix && !isAveraged(`${prefix}x`))
    .map(({ prefix }) => prefix);
  for (const { tensor, entry, name, within, inside } of rest) {
    const second = others.find((prefix) => name.startsWith(prefix) && !place.prefix.startsWith(prefix));
    const left = extraOf(LEFT_OUT, within);
    const part = LINEAR_HEAD.exec(within)?.[1];
    if (isAveraged(name)) add(sorted.leftOut, 'averaged copies of the weights', tensor);
    else if (second !== undefined)
      add(sorted.refused, `a second model, under “${second}”: save the one that is wanted alone`, tensor);
    else if (left !== null) add(sorted.leftOut, left, tensor);
    else if (!ownHead && part !== undefined && (!inside || place.scheme.name !== 'timm’s names')) {
      const key = `head.${part}`;
      if (sorted.ours.has(key)) add(sorted.refused, 'two heads', tensor);
      else sorted.ours.set(key, { tensor, entry });
      if (!inside && !isTransformersHead(place, within)) sorted.outsideHead = tensor.replace(/\.(weight|bias)$/, '');
    } else if (HEAD.test(within) && !POOLED_HEAD.test(within)) sorted.otherHead.push(tensor);
    else {
      const what = extraOf(REFUSED, within);
      if (what !== null) add(sorted.refused, what, tensor);
      else sorted.unknown.push(tensor);
    }
  }
  if (sorted.ours.has('head.weight') && sorted.otherHead.length > 0) {
    for (const tensor of sorted.otherHead) add(sorted.refused, 'two heads', tensor);
  }
  return sorted;
}

/** The name without the file's prefix, or without as many of its first parts as it has. */
function relativeTo(prefix: string, name: string): string {
  let start = prefix;
  while (start !== '' && !name.startsWith(start)) start = start.replace(/[^.]*\.$/, '');
  return name.slice(start.length);
}

/** Hugging Face keeps the classifier beside the model (`vit.…`, `classifier.…`), and it reads the class token. */
const isTransformersHead = ({ scheme }: Place, within: string): boolean =>
  scheme.name === 'Hugging Face’s names' && within.startsWith('classifier.');
