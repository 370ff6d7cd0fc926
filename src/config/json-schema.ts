/** The config's JSON Schema, for editors: `gqa config schema`; configs/schema.json is it, and a test compares. */
import { expectedBy } from './expectations.js';
import { MEANINGS } from './meanings.js';
import { configSchema } from './schema.js';

interface Node {
  properties?: Record<string, Node>;
  description?: string;
}

/** With the meaning of every key as its description. */
export function configJsonSchema(): Record<string, unknown> {
  const schema: Node = expectedBy(configSchema);
  const described = (node: Node, path: string[]): Node => ({
    ...node,
    ...(MEANINGS[path.join('.')] === undefined ? {} : { description: MEANINGS[path.join('.')] as string }),
    ...(node.properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(node.properties).map(([key, inner]) => [key, described(inner, [...path, key])]),
          ),
        }),
  });
  return { title: 'gqa config', ...described(schema, []) };
}

export const configSchemaText = (): string => `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
