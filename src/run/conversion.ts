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

/** In the file's own names; empty where nothing was merged. */
export const conversionRecord = (layers: readonly ConvertedLayerRecord[] | null): Record<string, unknown>[] =>
  (layers ?? []).map(({ groups, searches, refit, error }, layer) => ({
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
