import { GqaError } from '../../errors.js';
import type { ImageSize } from '../dataset.js';

/** Which folders are the splits. */
export interface FolderLayout {
  train: string;
  /** The validation part, under any one of these names; empty: the layout has none. */
  val: readonly string[];
  test: string;
  /** Folders of the published layout that take no part, and why. */
  unread?: Readonly<Record<string, string>>;
  /** Size of every image, where the data set has one. */
  size?: ImageSize;
  hint: string;
}

export function wrongLayout(root: string, { train, val, test, hint }: FolderLayout, found: string): GqaError {
  const tree = [
    root,
    `├── ${train}`,
    '│   ├── <class>',
    '│   │   ├── <image>.jpg (.jpeg, .png, .webp)',
    '│   │   └── …',
    '│   └── …',
    ...(val.length > 0 ? [`├── ${val[0]}, if there is one`, '│   └── (the same classes)'] : []),
    `└── ${test}`,
    '    └── (the same classes)',
  ];
  return new GqaError('data', `${found}; expected this layout:\n${tree.join('\n')}`, { hint });
}
