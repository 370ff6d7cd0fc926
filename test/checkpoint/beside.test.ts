/**
 * What no shape shows: heads, eps, activation, pooling and classes, from our card or the config.json beside a
 * checkpoint.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/checkpoint.js';
import { GqaError } from '../../src/errors.js';
import { neighbours } from '../../src/model/grouping.js';
import { initialValues, parameterSpecs } from '../../src/model/params.js';
import type { ModelShape } from '../../src/model/sizes.js';
import { encodeModel, mha, timmTensors, writeCheckpoint } from './tensors.js';

const warningsOf = (beside: Record<string, unknown> | null, shape = mha): string[] =>
  convertCheckpoint(writeCheckpoint(timmTensors(), beside), shape, 0).warnings;

const refused = (beside: Record<string, unknown>, message: RegExp): void =>
  assert.throws(
    () => convertCheckpoint(writeCheckpoint(timmTensors(), beside), mha, 0),
    (error) => error instanceof GqaError && error.code === 'usage' && message.test(error.message),
  );

test('heads that config.json confirms are taken silently; others are refused; what nothing confirms is warned of', () => {
  assert.deepEqual(warningsOf({ model_type: 'vit', hidden_size: 12, num_attention_heads: 6 }), []);
  assert.deepEqual(warningsOf({ architecture: 'vit_test', num_features: 12, model_args: { num_heads: 6 } }), []);
  refused(
    { model_type: 'vit', hidden_size: 12, num_attention_heads: 3 },
    /has 3 heads \(.*config\.json\), the config 6/,
  );
  refused({ architecture: 'vit_test', num_features: 12, model_args: { num_heads: 12 } }, /has 12 heads/);
  assert.match(
    warningsOf(null).join('\n'),
    /does not say its number of heads: model\.heads is 6, but nothing beside it confirms that/,
  );
  assert.match(warningsOf({ some_other: 'program' }).join('\n'), /does not say/);
});

/** An MHA model of one block and this width, with nothing beside it but `beside`. */
function ofWidth(embedDim: number, heads: number, beside: Record<string, unknown> | null = null): string[] {
  const shape: ModelShape = {
    ...mha,
    depth: 1,
    embedDim,
    heads,
    grouping: neighbours(1, heads, heads),
    mlpRatio: 0.25,
  };
  const tensors = Object.fromEntries(
    Object.entries(parameterSpecs(shape)).map(([name, spec]) => [
      name,
      { shape: spec.shape, data: initialValues(name, shape, 1) },
    ]),
  );
  return convertCheckpoint(writeCheckpoint(tensors, beside), shape, 0).warnings;
}

test('timm’s widths have timm’s heads, by the width alone with a warning, by the architecture’s name with a refusal', () => {
  for (const [width, heads] of [
    [192, 3],
    [384, 6],
    [768, 12],
  ] as const)
    assert.deepEqual(ofWidth(width, heads), []);
  assert.match(ofWidth(192, 12).join('\n'), /model\.heads is 12, but timm’s ViTs of embed_dim 192 have 3/);
  assert.match(ofWidth(192, 6).join('\n'), /have 3/);
  assert.throws(() => ofWidth(192, 12, { architecture: 'vit_tiny_patch16_224', num_features: 192 }), /has 3 heads/);
  assert.deepEqual(
    ofWidth(192, 12, { architecture: 'vit_tiny_patch16_224', num_features: 192, model_args: { num_heads: 12 } }),
    [],
  );
});

test('a config.json of another model is not used, and that is said', () => {
  const { notices, warnings } = convertCheckpoint(
    writeCheckpoint(timmTensors(), { model_type: 'vit', hidden_size: 768, num_attention_heads: 6 }),
    mha,
    0,
  );
  assert.match(notices.join('\n'), /describes a model of width 768, the checkpoint has 12: not used/);
  assert.equal(warnings.length, 1);
});

test('what config.json says that gqa does not compute refuses the checkpoint', () => {
  const hf = { model_type: 'vit', hidden_size: 12, num_attention_heads: 6 };
  refused({ ...hf, hidden_act: 'quick_gelu' }, /hidden_act is quick_gelu/);
  refused({ ...hf, hidden_act: 'gelu_pytorch_tanh' }, /hidden_act is gelu_pytorch_tanh/);
  refused({ ...hf, layer_norm_eps: 0.1 }, /layer_norm_eps is 0\.1/);
  refused({ ...hf, model_type: 'beit' }, /model_type is beit/);
  refused({ architecture: 'vit_base_patch32_clip_quickgelu_224', num_features: 12 }, /quick GELU/);
  refused({ architecture: 'eva02_enormous_patch14_clip_224', num_features: 12 }, /architecture is eva02/);
  refused({ architecture: 'vit_x', num_features: 12, global_pool: 'avg' }, /global_pool is avg/);
  refused({ architecture: 'vit_x', num_features: 12, model_args: { act_layer: 'relu' } }, /act_layer is relu/);
  const plain = { ...hf, hidden_act: 'gelu', layer_norm_eps: 1e-6 };
  assert.equal(convertCheckpoint(writeCheckpoint(timmTensors(), plain), mha, 0).shape.layerNormEps, undefined);
  assert.equal(
    convertCheckpoint(writeCheckpoint(timmTensors(), { ...plain, layer_norm_eps: 1e-5 }), mha, 0).shape.layerNormEps,
    1e-5,
  );
});

const CLASSES = ['cat', 'dog', 'cow', 'hen', 'ant'];
const labels = (names: string[]): Record<string, unknown> => ({
  model_type: 'vit',
  hidden_size: 12,
  num_attention_heads: 6,
  id2label: { ...names },
});
const headOf = (beside: Record<string, unknown> | null, classes = CLASSES): ReturnType<typeof convertCheckpoint> =>
  convertCheckpoint(writeCheckpoint(timmTensors(), beside), mha, 0, classes);

test('a head whose classes have other names, or the same in another order, is drawn afresh with the first difference', () => {
  const same = headOf(labels(CLASSES));
  assert.deepEqual([same.freshBecause, same.classes], [null, CLASSES]);
  assert.equal(headOf(labels(['Cat', 'DOG', 'cow', 'hen', 'ant'])).freshBecause, null);
  assert.match(headOf(labels([...CLASSES].reverse())).freshBecause ?? '', /class 0 is “ant” there, “cat” in the data/);
  assert.match(
    headOf(labels(['cat', 'dog', 'cow', 'hen', 'bee'])).freshBecause ?? '',
    /class 4 is “bee” there, “ant” in the data/,
  );
  assert.match(
    headOf({
      architecture: 'vit_x',
      num_features: 12,
      model_args: { num_heads: 6 },
      label_names: [...CLASSES].reverse(),
    }).freshBecause ?? '',
    /class 0 is “ant”/,
  );
});

test('a head without names of classes is taken over, with a notice; LABEL_0 is no name', () => {
  for (const beside of [
    null,
    labels(['LABEL_0', 'LABEL_1', 'LABEL_2', 'LABEL_3', 'LABEL_4']),
    labels(['0', '1', '2', '3', '4']),
    labels(['a', 'b']),
  ]) {
    const { freshBecause, notices } = headOf(beside);
    assert.equal(freshBecause, null);
    assert.match(
      notices.join('\n'),
      /names no classes: its head’s outputs are taken to be in the data set’s order \(cat, dog, cow, …\)/,
    );
  }
});

/** A file of ours of these classes. */
function ours(classes: string[], warnings: string[] = []): string {
  const valuesOf = (name: string): Float32Array => initialValues(name, mha, 2);
  return writeCheckpoint(
    encodeModel(valuesOf, { variant: 'mha', model: mha, classes, state: null, steps: 3, warnings }),
    {
      model_type: 'beit',
      hidden_size: 12,
    },
  );
}

test('a file of ours is taken by its own card, whatever lies beside it: heads, classes, and the warnings it came with', () => {
  assert.deepEqual(convertCheckpoint(ours(CLASSES), mha, 0, CLASSES).warnings, []);
  assert.match(
    convertCheckpoint(ours([...CLASSES].reverse()), mha, 0, CLASSES).freshBecause ?? '',
    /class 0 is “ant” there/,
  );
  assert.deepEqual(convertCheckpoint(ours(CLASSES, ['w']), mha, 0, CLASSES).warnings, ['w']);
  assert.match(convertCheckpoint(ours([]), mha, 0, CLASSES).notices.join('\n'), /names no classes/);
});

test('the number of classes may be left to the checkpoint: 0 without a head, and a file of ours without one is read again', () => {
  const open = { ...mha, numClasses: null };
  assert.equal(convertCheckpoint(writeCheckpoint(timmTensors()), open, 0).shape.numClasses, 5);
  const { shape, values } = convertCheckpoint(
    writeCheckpoint(timmTensors((t) => delete t['head.weight'] && delete t['head.bias'])),
    open,
    0,
  );
  assert.equal(shape.numClasses, 0);
  const file = writeCheckpoint(
    encodeModel((name) => values[name] as Float32Array, {
      variant: 'mha',
      model: shape,
      classes: [],
      state: null,
      steps: 0,
    }),
  );
  const again = convertCheckpoint(file, mha, 0, CLASSES);
  assert.match(again.freshBecause ?? '', /the checkpoint has no head/);
  assert.deepEqual(again.values['norm.weight'], values['norm.weight']);
});
