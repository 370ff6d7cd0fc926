/** `gqa config …`: the lines of the table of commands. */
import { Argument, Option } from 'commander';
import { type DataName, dataNames, type SizeName, sizeNames } from '../config/names.js';
import { aPath, json, set } from './options.js';
import type { CommandSpec } from './spec.js';

export const configCommands: CommandSpec[] = [
  {
    name: 'config init',
    summary: 'a commented config to begin with, for a data set and a size',
    options: [
      new Option('--data <name>', 'data set').choices(dataNames).default('cifar10'),
      new Option('--size <size>', 'size of the model; left out with --pretrained: as the checkpoint has it').choices(
        sizeNames,
      ),
      new Option('--pretrained <weights>', 'file, folder, or a model of the hub (OWNER/NAME)'),
      new Option('--out <file>', 'file to write (default: stdout)').argParser(aPath),
    ],
    example: 'gqa config init --data cifar100 --size small --out configs/mine.yaml',
    run: async (_, options) => {
      const { size, pretrained = null, ...rest } = options as { size?: SizeName; pretrained?: string; data: DataName };
      const chosen = size ?? (pretrained === null ? 'small' : null);
      await (await import('../commands/config.js')).configInit({ ...rest, size: chosen, pretrained });
    },
  },
  {
    name: 'config schema',
    summary: 'the JSON Schema of a config, for editors',
    options: [],
    example: 'gqa config schema > schema.json',
    run: async () => (await import('../commands/config.js')).configSchemaCommand(),
  },
  {
    name: 'config show',
    summary: 'every key of a config with its value, and where that comes from',
    arguments: [new Argument('<file>', 'config').argParser(aPath)],
    options: [set(), json()],
    example: 'gqa config show configs/smoke.yaml --set train.lr=1e-4',
    run: async ([file], options) =>
      (await import('../commands/config.js')).configShow({ file: file ?? '', ...(options as object) } as never),
  },
];
