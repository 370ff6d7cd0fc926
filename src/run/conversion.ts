/** How a model was converted, as a run's conversion.json holds it: groups, what searches found, what refits gained. */

/** What is recorded of a layer; convert/ makes it. */
export interface ConvertedLayerRecord {
  groups: { keys: readonly number[]; values: readonly number[] };
  searches: readonly {
    of: string;
    by: string;
    error: number;
    neighbours: number | null;
    others: Readonly<Record<string, number>>;
    front?: readonly { kvHeads: number; error: number; groups: readonly number[] }[];
  }[];
  refit: { ridge: number | null; before: number; after: number } | null;
  error: { keys: number; values: number } | null;
}

/** A choice of layers to group: the mean share of KV heads that is left, and the errors of those layers together. */
export interface LayerChoiceRecord {
  grouped: readonly boolean[];
  kvCache: number;
  error: number;
}

/** conversion.json; null where nothing was merged. */
export const conversionRecord = (
  layers: readonly ConvertedLayerRecord[] | null,
  choices: readonly LayerChoiceRecord[] | null = null,
): Record<string, unknown> | null =>
  layers === null
    ? null
    : {
        layers: layerRecords(layers),
        ...(choices === null
          ? {}
          : { layer_choices: choices.map(({ kvCache, ...rest }) => ({ kv_cache: kvCache, ...rest })) }),
      };

/** In the file's own names. */
export const layerRecords = (layers: readonly ConvertedLayerRecord[]): Record<string, unknown>[] =>
  layers.map(({ groups, searches, refit, error }, layer) => ({
    layer,
    key_groups: groups.keys,
    value_groups: groups.values,
    searches: searches.map(({ front, ...search }) => ({
      ...search,
      ...(front === undefined
        ? {}
        : { pareto_front: front.map(({ kvHeads, ...rest }) => ({ kv_heads: kvHeads, ...rest })) }),
    })),
    ...(refit === null ? {} : { refit }),
    ...(error === null ? {} : { error }),
  }));
