/** `gqa data …`: data sets. What a command does is imported when it runs. */
import { Argument, Option } from 'commander';
import { aPath, config, dataRoot, json, set, wholeNumber } from './options.js';

import type { CommandSpec } from './spec.js';

export const dataCommands: CommandSpec[] = [
  {
    name: 'data list',
    summary: 'data sets that are known: size, where they are looked for, what is there',
    options: [dataRoot(), json()],
    example: 'gqa data list',
    run: async (_, options) => (await import('../commands/data.js')).dataList(options),
  },
  {
    name: 'data fetch',
    summary: 'download a data set from its publisher, check it, unpack it where it is read',
    arguments: [new Argument('<name>', 'as data.name of a config')],
    options: [
      dataRoot(),
      new Option('--mirror <url>', 'folder that has the files instead of the publisher'),
      new Option('--offline', 'connect to nothing: unpack what was placed by hand, or tell what is needed').default(
        false,
      ),
      json(),
    ],
    example: 'gqa data fetch cifar10',
    run: async ([name], options, stop) =>
      (await import('../commands/data.js')).dataFetch({ name: name ?? '', ...(options as object) } as never, stop),
    endsItself: true,
  },
  {
    name: 'data verify',
    summary: 'decode every image, count classes against the official counts, look for duplicates',
    arguments: [new Argument('<name>', 'as data.name of a config')],
    options: [
      dataRoot(),
      new Option('--overview <file>', 'write a PNG with 8 images of each class').argParser(aPath),
      new Option('--report <file>', 'write the whole report as JSON').argParser(aPath),
      json(),
    ],
    example: 'gqa data verify cifar10 --overview cifar10.png',
    run: async ([name], options, stop) =>
      (await import('../commands/data.js')).dataVerify({ name: name ?? '', ...(options as object) } as never, stop),
    endsItself: true,
  },
  {
    name: 'data preview',
    summary: 'a PNG of training images beside what augmentation makes of them',
    options: [
      config().makeOptionMandatory(),
      set(),
      new Option('--out <file>', 'PNG to write').argParser(aPath).default('preview.png'),
      new Option('--rows <n>', 'images').argParser(wholeNumber(1, 100)).default(8),
      new Option('--columns <n>', 'the image as it is, and one less epochs').argParser(wholeNumber(2, 100)).default(8),
      json(),
    ],
    example: 'gqa data preview --config configs/cifar10-small.yaml --out preview.png',
    run: async (_, options) => (await import('../commands/data-preview.js')).dataPreview(options),
  },
];
