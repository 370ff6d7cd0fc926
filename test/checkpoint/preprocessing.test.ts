/** Mean, std, resize and interpolation: who is asked, in which order, what is stated, and what is refused. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type Resolved, resolvedTeacher, resolvePreprocessing } from '../../src/checkpoint/preprocessing.js';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { parseConfig } from '../../src/config/load.js';
import { DEFAULT_PREPROCESSING, type Preprocessing } from '../../src/config/preprocessing.js';
import type { Config } from '../../src/config/schema.js';
import { GqaError } from '../../src/errors.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialValues } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { temporaryFolder } from '../cli-run.js';
import { encodeModel } from './tensors.js';

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

const configOf = (...sets: string[]): Config =>
  parseConfig('data: { name: cifar10 }\nmodel: { size: small }', 'x.yaml', sets).config;

/** A checkpoint of nobody's making, with `files` beside it. */
function checkpointWith(files: Record<string, unknown>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files))
    fs.writeFileSync(path.join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  const file = path.join(folder, 'model.safetensors');
  fs.writeFileSync(file, encodeSafetensors({ 'head.weight': { shape: [1], data: Float32Array.of(1) } }));
  return file;
}

function found({ config: { data } }: Resolved): Record<string, unknown> {
  const { mean, std, resize, cropPct, interpolation } = data;
  return { mean, std, resize, cropPct, interpolation };
}

const refused = (message: RegExp) => (error: unknown) =>
  error instanceof GqaError &&
  error.code === 'usage' &&
  message.test(error.message) &&
  error.message.split('\n').length <= 10;

const timm = (cfg: Record<string, unknown>, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  'config.json': {
    architecture: 'deit_small_patch16_224',
    num_classes: 1000,
    num_features: 384,
    pretrained_cfg: cfg,
    ...more,
  },
});
const DEIT = {
  ...IMAGENET,
  input_size: [3, 224, 224],
  fixed_input_size: true,
  interpolation: 'bicubic',
  crop_pct: 0.9,
  crop_mode: 'center',
};
const HF = {
  do_normalize: true,
  do_rescale: true,
  rescale_factor: 0.00392156862745098,
  do_resize: true,
  image_mean: IMAGENET.mean,
  image_std: IMAGENET.std,
  resample: 3,
  size: { height: 224, width: 224 },
  do_convert_rgb: null,
};
const huggingFace = (changes: Record<string, unknown>): Record<string, unknown> => ({
  'preprocessor_config.json': { ...HF, ...changes },
});

/** What lies beside the checkpoint, and what comes of it. */
const UNDERSTOOD: [what: string, files: Record<string, unknown>, expected: Partial<Preprocessing>][] = [
  ['timm’s config.json', timm(DEIT), { ...IMAGENET, resize: 'crop', cropPct: 0.9, interpolation: 'bicubic' }],
  [
    'timm’s older flat form',
    { 'config.json': { architecture: 'vit', ...DEIT } },
    { ...IMAGENET, resize: 'crop', cropPct: 0.9, interpolation: 'bicubic' },
  ],
  [
    'no crop_mode: center',
    timm({ ...DEIT, crop_mode: null, crop_pct: 1 }),
    { ...IMAGENET, resize: 'crop', cropPct: 1, interpolation: 'bicubic' },
  ],
  ['squash, whole', timm({ ...DEIT, crop_mode: 'squash', crop_pct: 1 }), { ...IMAGENET, interpolation: 'bicubic' }],
  ['Hugging Face’s ViT', huggingFace({ image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5], resample: 2 }), {}],
  [
    'a plain size of a ViTFeatureExtractor: both edges',
    huggingFace({ size: 224, feature_extractor_type: 'ViTFeatureExtractor' }),
    { ...IMAGENET, interpolation: 'bicubic' },
  ],
  [
    'DINOv2: shortest edge and crop',
    huggingFace({
      size: { shortest_edge: 256 },
      do_center_crop: true,
      crop_size: { height: 224, width: 224 },
      image_processor_type: 'BitImageProcessor',
    }),
    { ...IMAGENET, resize: 'crop', cropPct: 0.875, interpolation: 'bicubic' },
  ],
  [
    'CLIP: a plain size is the shortest edge',
    huggingFace({
      size: 224,
      do_center_crop: true,
      crop_size: 224,
      feature_extractor_type: 'CLIPFeatureExtractor',
      image_mean: 0.5,
      image_std: 0.5,
    }),
    { resize: 'crop', cropPct: 1, interpolation: 'bicubic' },
  ],
  [
    'a crop of the whole',
    huggingFace({ do_center_crop: true, crop_size: 224 }),
    { ...IMAGENET, interpolation: 'bicubic' },
  ],
  [
    'do_normalize false',
    huggingFace({ do_normalize: false }),
    { mean: [0, 0, 0], std: [1, 1, 1], interpolation: 'bicubic' },
  ],
  [
    'processor_config.json',
    { 'processor_config.json': { image_processor: HF } },
    { ...IMAGENET, interpolation: 'bicubic' },
  ],
  [
    'both, of one mind',
    { ...timm({ ...DEIT, crop_mode: 'squash', crop_pct: 1 }), ...huggingFace({ image_mean: [0.4851, 0.456, 0.406] }) },
    { ...IMAGENET, interpolation: 'bicubic' },
  ],
  ['timm’s config.json of a model of another width', timm(DEIT, { num_features: 192 }), {}],
  [
    'Hugging Face’s config.json of the model, which says nothing',
    { 'config.json': { model_type: 'vit', image_size: 224 } },
    {},
  ],
];

for (const [what, files, expected] of UNDERSTOOD) {
  test(`beside the checkpoint: ${what}`, () => {
    const resolved = resolvePreprocessing(configOf(), checkpointWith(files));
    assert.deepEqual(
      found(resolved),
      found({ config: { data: { ...DEFAULT_PREPROCESSING, ...expected } } } as unknown as Resolved),
    );
    assert.deepEqual(resolved.warnings, []);
    assert.ok(resolved.notices.length > 0 || Object.keys(expected).length === 0);
  });
}

test('what is taken from beside the checkpoint is stated with its file, and so are defaults that nobody asked for', () => {
  const { notices } = resolvePreprocessing(configOf(), checkpointWith(timm(DEIT)));
  assert.equal(notices.length, 1);
  assert.match(notices.join('\n'), /data\.mean \[0\.485, 0\.456, 0\.406\], .*, as .*config\.json says/);
  assert.match(notices.join('\n'), /data\.resize crop, data\.crop_pct 0\.9, .*, as .*config\.json says/);
  const silent = resolvePreprocessing(configOf(), checkpointWith({}));
  assert.match(
    silent.notices.join('\n'),
    /data\.mean \[0\.5, 0\.5, 0\.5\].*neither the config nor .*model\.safetensors says otherwise/,
  );
  assert.deepEqual(resolvePreprocessing(configOf(), null).notices, []);
});

/** What gqa does not do: the setting that the config has to say for it to go on, and what the message holds. */
const REFUSED: [what: string, files: Record<string, unknown>, message: RegExp, sets: string[]][] = [
  ['border', timm({ ...DEIT, crop_mode: 'border' }), /crop_mode "border"/, ['data.resize=crop']],
  [
    'squash and then a crop',
    timm({ ...DEIT, crop_mode: 'squash' }),
    /crop_mode "squash" with crop_pct 0\.9/,
    ['data.resize=squash'],
  ],
  ['a crop beyond the image', timm({ ...DEIT, crop_pct: 1.1 }), /crop_pct 1\.1/, ['data.resize=crop']],
  ['a border cut off', timm({ ...DEIT, crop_border_pixels: 4 }), /crop_border_pixels 4/, ['data.resize=crop']],
  [
    'lanczos',
    timm({ ...DEIT, interpolation: 'lanczos' }),
    /interpolation "lanczos"; gqa has bilinear and bicubic/,
    ['data.interpolation=bicubic'],
  ],
  ['random', timm({ ...DEIT, interpolation: 'random' }), /interpolation "random"/, ['data.interpolation=bicubic']],
  ['PIL’s lanczos', huggingFace({ resample: 1 }), /resample 1; gqa has bilinear \(2\)/, ['data.interpolation=bicubic']],
  [
    'one channel',
    timm({ ...DEIT, mean: [0.13] }),
    /mean \[0\.13\]; gqa takes three numbers/,
    ['data.mean=[0.1,0.1,0.1]'],
  ],
  [
    '0 to 255',
    timm({ ...DEIT, mean: [123.675, 116.28, 103.53] }),
    /as of pixels of 0 to 255; gqa takes it divided by 255/,
    ['data.mean=[0.485,0.456,0.406]'],
  ],
  ['a deviation of 0', timm({ ...DEIT, std: [0, 0.2, 0.2] }), /std \[0,0\.2,0\.2\]/, ['data.std=[0.2,0.2,0.2]']],
  [
    'do_rescale false',
    huggingFace({ do_rescale: false }),
    /do_rescale false/,
    ['data.mean=[0.5,0.5,0.5]', 'data.std=[0.5,0.5,0.5]'],
  ],
  [
    'a scale of its own',
    huggingFace({ rescale_factor: 1 / 127.5 }),
    /rescale_factor 0\.0078/,
    ['data.mean=[0.5,0.5,0.5]', 'data.std=[0.5,0.5,0.5]'],
  ],
  [
    'blue first',
    huggingFace({ do_flip_channel_order: true }),
    /do_flip_channel_order true/,
    ['data.mean=[0.5,0.5,0.5]', 'data.std=[0.5,0.5,0.5]'],
  ],
  ['do_resize false', huggingFace({ do_resize: false }), /do_resize false/, ['data.resize=squash']],
  [
    'DeiT: squashed, then cropped',
    huggingFace({ size: 256, do_center_crop: true, crop_size: 224, feature_extractor_type: 'DeiTFeatureExtractor' }),
    /size 256 of DeiTFeatureExtractor, do_center_crop with crop_size 224/,
    ['data.resize=crop'],
  ],
  [
    'not square',
    huggingFace({ size: { height: 224, width: 192 } }),
    /size \{"height":224,"width":192\}/,
    ['data.resize=squash'],
  ],
  ['the longest edge', huggingFace({ size: { longest_edge: 224 } }), /longest_edge/, ['data.resize=squash']],
  [
    'the shortest edge without a crop',
    huggingFace({ size: { shortest_edge: 224 } }),
    /shortest_edge/,
    ['data.resize=crop'],
  ],
  [
    'a rule of its own',
    huggingFace({ size: { shortest_edge: 224 }, image_processor_type: 'ConvNextImageProcessor' }),
    /ConvNextImageProcessor/,
    ['data.resize=crop'],
  ],
  ['a plain size of nobody', huggingFace({ size: 224 }), /size 224/, ['data.resize=squash']],
  [
    'no JSON',
    { 'config.json': '{"mean": [0.5' },
    /config\.json cannot be read/,
    ['data.mean=[0.5,0.5,0.5]', 'data.std=[0.5,0.5,0.5]', 'data.resize=squash', 'data.interpolation=bilinear'],
  ],
  [
    'two files that contradict each other',
    {
      ...timm(DEIT),
      ...huggingFace({
        size: { shortest_edge: 248 },
        do_center_crop: true,
        crop_size: 224,
        image_mean: [0.5, 0.5, 0.5],
      }),
    },
    /config\.json says data\.mean \[0\.485, 0\.456, 0\.406\], but .*preprocessor_config\.json says data\.mean \[0\.5/,
    ['data.mean=[0.5,0.5,0.5]'],
  ],
];

for (const [what, files, message, sets] of REFUSED) {
  test(`refused beside the checkpoint unless the config says otherwise, which warns: ${what}`, () => {
    const checkpoint = checkpointWith(files);
    assert.throws(() => resolvePreprocessing(configOf(), checkpoint), refused(message));
    const { warnings } = resolvePreprocessing(configOf(...sets), checkpoint);
    assert.ok(
      warnings.length > 0 && warnings.every((line) => /^the config says data\./.test(line)),
      warnings.join('\n'),
    );
  });
}

test('the config goes before the checkpoint; that they differ is a warning, that they agree is none', () => {
  const checkpoint = checkpointWith(timm(DEIT));
  const other = resolvePreprocessing(configOf('data.mean=[0.5,0.5,0.5]', 'data.resize=squash'), checkpoint);
  assert.deepEqual(found(other), { ...DEFAULT_PREPROCESSING, std: IMAGENET.std, interpolation: 'bicubic' });
  assert.deepEqual(other.warnings.length, 2);
  assert.match(
    other.warnings[0] as string,
    /the config says data\.mean \[0\.5, 0\.5, 0\.5\], but .*config\.json says data\.mean \[0\.485/,
  );
  const same = resolvePreprocessing(
    configOf('data.mean=[0.485,0.456,0.406]', 'data.resize=crop', 'data.crop_pct=0.9'),
    checkpoint,
  );
  assert.deepEqual(same.warnings, []);
  const part = resolvePreprocessing(configOf('data.crop_pct=0.95'), checkpoint);
  assert.deepEqual([part.config.data.resize, part.config.data.cropPct, part.warnings.length], ['crop', 0.95, 1]);
  const open = resolvePreprocessing(configOf('data.resize=crop'), checkpoint);
  assert.deepEqual([open.config.data.cropPct, open.warnings], [0.9, []]);
  assert.equal(resolvePreprocessing(configOf('data.resize=crop'), null).config.data.cropPct, 0.875);
});

test('crop_pct where images are squashed does nothing, and is refused', () => {
  for (const checkpoint of [null, checkpointWith({})])
    assert.throws(
      () => resolvePreprocessing(configOf('data.crop_pct=0.9'), checkpoint),
      refused(/data\.crop_pct is 0\.9, but data\.resize is squash/),
    );
});

test('images of another size than model.image_size are a warning; the size that a model was made for goes before that of its origin', () => {
  const small = resolvePreprocessing(configOf(), checkpointWith(timm({ ...DEIT, input_size: [3, 384, 384] })));
  assert.match(small.warnings.join('\n'), /of images of 384 pixels, but model\.image_size is 224/);
  const made = timm({ ...DEIT, input_size: [3, 384, 384] }, { model_args: { img_size: 224 } });
  assert.deepEqual(resolvePreprocessing(configOf(), checkpointWith(made)).warnings, []);
});

const SHAPE: ModelShape = {
  imageSize: 8,
  patchSize: 4,
  embedDim: 4,
  depth: 1,
  heads: 1,
  grouping: neighbours(1, 1, 1),
  mlpRatio: 1,
  numClasses: 2,
};

function ours(images?: Preprocessing): string {
  const file = path.join(temporaryFolder(), 'ours.safetensors');
  const card = { variant: 'mha' as const, model: SHAPE, classes: ['a', 'b'], state: null, steps: 1 };
  const bytes = encodeModel((name) => initialValues(name, SHAPE, 1), images === undefined ? card : { ...card, images });
  fs.writeFileSync(file, bytes);
  fs.writeFileSync(path.join(path.dirname(file), 'config.json'), JSON.stringify(timm(DEIT)['config.json']));
  return file;
}

test('a file of ours goes before what lies beside it; one from before it stated of images is of 0.5, squashed bilinearly', () => {
  const images: Preprocessing = {
    mean: [0.1, 0.2, 0.3],
    std: [0.4, 0.5, 0.6],
    resize: 'crop',
    cropPct: 0.95,
    interpolation: 'bicubic',
  };
  assert.deepEqual(found(resolvePreprocessing(configOf(), ours(images))), images);
  const old = resolvePreprocessing(configOf(), ours());
  assert.deepEqual([found(old), old.notices, old.warnings], [DEFAULT_PREPROCESSING, [], []]);
  const against = resolvePreprocessing(configOf('data.std=[1,1,1]'), ours(images));
  assert.match(
    against.warnings.join('\n'),
    /the config says data\.std \[1, 1, 1\], but .*ours\.safetensors says data\.std \[0\.4, 0\.5, 0\.6\]/,
  );
});

test('a teacher may have another mean and deviation, but no other resize; of one that says nothing the student’s are taken, aloud', () => {
  const student: Preprocessing = { ...DEFAULT_PREPROCESSING, interpolation: 'bicubic' };
  const { mean, std, notices } = resolvedTeacher(
    checkpointWith(timm({ ...DEIT, crop_mode: 'squash', crop_pct: 1 })),
    384,
    student,
  );
  assert.deepEqual({ mean, std }, IMAGENET);
  assert.match(notices.join('\n'), /folded into its patch projection/);
  assert.throws(
    () => resolvedTeacher(checkpointWith(timm(DEIT)), 384, student),
    refused(/train\.distill_from: .*resize crop, data\.crop_pct 0\.9/),
  );
  assert.throws(() => resolvedTeacher(ours(), 384, student), refused(/interpolation bilinear/));
  const plain = resolvedTeacher(checkpointWith({}), 384, { ...student, ...IMAGENET });
  assert.deepEqual({ mean: plain.mean, std: plain.std }, IMAGENET);
  assert.equal(plain.notices.length, 1);
  assert.deepEqual(resolvedTeacher(checkpointWith({}), 384, DEFAULT_PREPROCESSING).notices, []);
});
