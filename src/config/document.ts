/** docs/config.md, from the schema and the meanings of its keys: `npm run config-doc` writes it, a test compares it. */
import { expectedAt, expectedBy, inWords, leafPaths } from './expectations.js';
import { MEANINGS } from './meanings.js';
import { configSchema } from './schema.js';

const HEAD = `# Config

A config is YAML. Only \`data.name\` and \`model.size\` are required, and \`model.kv_heads\` for the variants that have a choice. Unknown keys
are errors; all problems come at once, each with file:line:column. \`--set section.key=value\` goes over the file: text (paths, names,
words) is taken as it stands, numbers and mappings are YAML. Paths are relative to the working directory; \`~/\` is the home folder. A key
that would change nothing is refused: from \`--set\` always, in a file where it belongs to another variant than the file's own (a window for
\`gqa\`) or to a teacher that is not named; other keys without effect are reported. A key at its default never counts, nor does a file that
gqa wrote itself (\`runs/…/config.yaml\`, which has every key).

\`configs/\` has the paper's four data sets × S, B and L, the smoke run, the quickstart, \`cifar10-micro.yaml\` and \`bench-overhead.yaml\`; the
head of each file says what it needs. The **flat files of the paper's code** (\`dataset\`, \`in_chans\`, \`size: s|b|l|c\`, \`att_scheme\`,
\`num_classes\`, \`pretrained\`, \`window_size\`, \`num_kv_heads\`, \`out_dir\`) are read as they are. They imply what that code fixes:
\`protocol: paper\`, RandAugment, mean and std 0.5, a bilinear squash, batch 32, AdamW at 1e-5, 5 epochs, seed 42, window 300.
\`pretrained: true\` downloads nothing: name the file with \`--set model.pretrained=FILE\`.
`;

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** The whole document. */
export function configDocument(): string {
  const schema = expectedBy(configSchema);
  const leaves = leafPaths(schema).filter((key) => !/^(data\.limit|train\.checkpoint_every)\./.test(key));
  const sections = [...new Set(leaves.map((key) => (key.includes('.') ? (key.split('.')[0] as string) : '')))];
  const rows = (section: string): string[] =>
    leaves
      .filter((key) => (key.includes('.') ? key.split('.')[0] : '') === section)
      .map((key) => {
        const node = expectedAt(schema, key.split('.'));
        const usual = node?.default === undefined ? '–' : `\`${JSON.stringify(node.default)}\``;
        const name = key.split('.').at(-1);
        return `| \`${name}\` | ${cell(node === undefined ? '' : inWords(node))} | ${usual} | ${cell(MEANINGS[key] ?? '')} |`;
      });
  const tables = sections.map((section) =>
    [
      section === '' ? '## The run' : `## \`${section}\``,
      '',
      '| key | takes | default | meaning |',
      '|---|---|---|---|',
      ...rows(section),
      '',
    ].join('\n'),
  );
  return `${HEAD}\n${tables.join('\n')}`;
}
