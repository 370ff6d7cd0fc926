/** A config to begin with, for a data set and a size: what is usually changed, each key with its meaning. */
import { MEANINGS } from './meanings.js';
import { type DataName, defaultDataRoot, type SizeName } from './names.js';

/** Half of the heads, or one. */
const KV_HEADS: Readonly<Record<SizeName, number>> = { micro: 6, tiny: 1, small: 3, base: 6, large: 8 };

export interface Starter {
  data: DataName;
  /** null: as the checkpoint has it. */
  size: SizeName | null;
  /** A file, a folder or a hub's id; null: from scratch. */
  pretrained: string | null;
}

const sections = ({ data, size, pretrained }: Starter): Record<string, Record<string, unknown>> => ({
  data: { name: data, root: defaultDataRoot, augment: 'light', limit: null, val_fraction: 0.1 },
  model: {
    ...(size === null ? {} : { size }),
    pretrained,
    variant: 'gqa',
    kv_heads: size === null ? 1 : KV_HEADS[size],
    merge: 'mean',
    calibration_images: 128,
  },
  train: {
    ...{ epochs: 5, batch_size: 64, lr: 1e-4, weight_decay: 0.05, schedule: 'cosine', warmup_steps: 50 },
    ...{ label_smoothing: 0, clip_grad: null, precision: 'float32' },
  },
});

/** YAML with what each key means behind it. */
export function starterConfig(starter: Starter): string {
  const { data, size, pretrained } = starter;
  const wanted = [`--data ${data}`, size && `--size ${size}`, pretrained && `--pretrained ${pretrained}`].filter(
    Boolean,
  );
  const lines = Object.entries(sections(starter)).flatMap(([section, keys]) => {
    const written = Object.entries(keys).map(([key, value]) => ({ key, text: `  ${key}: ${JSON.stringify(value)}` }));
    const width = Math.max(...written.map(({ text }) => text.length));
    return [
      `${section}:`,
      ...written.map(
        ({ key, text }) => `${text.padEnd(width)}  # ${firstSentence(MEANINGS[`${section}.${key}`] ?? '')}`,
      ),
    ];
  });
  return [
    `# Written by: gqa config init ${wanted.join(' ')}`,
    '# Every key: docs/config.md. What it comes to: gqa config show FILE',
    ...lines,
    '',
  ].join('\n');
}

const firstSentence = (text: string): string => text.split(/(?<=[^.])[.:;](?:\s|$)/)[0] ?? '';
