/**
 * What else real checkpoints hold: computed, left out with a notice, or refused by what it is, before any value is
 * read.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { convertCheckpoint } from '../../src/convert/checkpoint.js';
import { GqaError } from '../../src/errors.js';
import { filled, mha, type Tensors, timmTensors, writeCheckpoint } from './tensors.js';

const add =
  (...names: string[]) =>
  (tensors: Tensors): void => {
    for (const name of names) tensors[name] = filled(12);
  };

const renamed =
  (rename: (name: string) => string) =>
  (tensors: Tensors): void => {
    for (const [name, tensor] of Object.entries(tensors)) {
      delete tensors[name];
      tensors[rename(name)] = tensor;
    }
  };

const without =
  (pattern: RegExp) =>
  (tensors: Tensors): void => {
    for (const name of Object.keys(tensors)) if (pattern.test(name)) delete tensors[name];
  };

/** The error's message: of at most ten lines, and beginning with the file and what it is. */
function refusal(file: string): string {
  let message = '';
  assert.throws(
    () => convertCheckpoint(file, mha, 0),
    (error) => {
      assert.ok(error instanceof GqaError && error.code === 'usage', String(error));
      message = error.message;
      assert.ok(`${message}\n${error.hint ?? ''}`.split('\n').length <= 10, message);
      assert.ok(message.startsWith(`${file} `), message);
      return true;
    },
  );
  return message;
}

const REFUSED: [what: string, change: (tensors: Tensors) => unknown, message: RegExp][] = [
  [
    'qk_norm',
    add('blocks.0.attn.q_norm.weight', 'blocks.0.attn.k_norm.weight'),
    /norms on queries and keys.*q_norm\.weight/,
  ],
  ['a norm before the blocks', add('norm_pre.weight', 'norm_pre.bias'), /a norm before the blocks.*norm_pre/],
  ['registers', add('reg_token'), /register tokens.*reg_token/],
  ['a distillation token', add('dist_token', 'head_dist.weight'), /a distillation token.*dist_token/],
  ['fc_norm beside norm', add('fc_norm.weight', 'fc_norm.bias'), /nothing of the model is left for: fc_norm/],
  [
    'a norm inside attention',
    add('blocks.0.attn.norm.weight'),
    /a norm inside attention or MLP.*blocks\.0\.attn\.norm/,
  ],
  ['a norm inside the MLP', add('blocks.1.mlp.norm.weight'), /a norm inside attention or MLP/],
  ['SwiGLU of EVA', add('blocks.0.mlp.fc1_g.weight', 'blocks.0.mlp.fc1_x.weight'), /a gated MLP \(SwiGLU\)/],
  ['SwiGLU of DINOv2', add('blocks.0.mlp.w12.weight'), /a gated MLP \(SwiGLU\)/],
  [
    'packed SwiGLU, recognised by its shapes',
    (t) => Object.assign(t, { 'blocks.0.mlp.fc2.weight': filled(12, 12) }),
    /SwiGLU.*twice the outputs/,
  ],
  ['relative positions', add('rel_pos_bias.relative_position_bias_table'), /relative position embeddings/],
  ['relative positions of a block', add('blocks.0.attn.relative_position_bias_table'), /relative position embeddings/],
  ['rotary positions', add('rope.freqs'), /rotary position embeddings/],
  ['biases apart', add('blocks.0.attn.q_bias', 'blocks.0.attn.v_bias'), /biases of q and v apart/],
  ['attention pooling', add('attn_pool.latent'), /pooling by attention/],
  ['pre_logits', add('pre_logits.fc.weight'), /a representation layer/],
  ['a convolutional stem', add('patch_embed.backbone.stem.conv.weight'), /a convolutional stem/],
  ['a norm on patches', add('patch_embed.norm.weight'), /a norm on patches/],
  ['LoRA', add('blocks.0.attn.qkv.lora_A.default.weight'), /an adapter/],
  ['int8 with a scale', add('blocks.0.attn.qkv.weight_scale'), /quantised weights/],
  ['bitsandbytes', add('blocks.0.attn.qkv.SCB'), /quantised weights/],
  [
    'weights stored as integers',
    (t) => Object.assign(t, { 'norm.weight': { shape: [12], data: new Int32Array(12) } }),
    /stored as I32 \(quantised\?\).*norm\.weight/,
  ],
  ['weight norm', add('blocks.0.mlp.fc1.weight_g'), /weights in parts/],
  ['pruning masks', add('blocks.0.mlp.fc1.weight_mask'), /weights in parts/],
  ['batch norm', add('blocks.0.norm1.running_mean'), /batch norm/],
  ['statistics inside the model', add('pixel_mean', 'pixel_std'), /mean and standard deviation of the images/],
  ['talking heads', add('blocks.0.attn.proj_l.weight'), /another kind of attention/],
  ['an unknown name', add('blocks.0.surprise.weight', 'extra'), /unknown to gqa.*blocks\.0\.surprise\.weight, extra/],
  [
    'an unknown name beside the prefix',
    (t) => {
      renamed((name) => `module.${name}`)(t);
      add('module.extra')(t);
    },
    /unknown to gqa.*module\.extra/,
  ],
  ['two heads', add('classifier.weight'), /two heads.*classifier/],
  [
    'two models',
    (t) =>
      Object.assign(
        t,
        Object.fromEntries(Object.entries(timmTensors()).map(([name, tensor]) => [`teacher.${name}`, tensor])),
      ),
    /a second model, under “teacher\.”/,
  ],
  ['norms without a bias', without(/norm[12]?\.bias$/), /norms without a bias \(RMS norm/],
  ['one norm without a bias', without(/^norm\.bias$/), /1 tensor is missing: norm\.bias/],
  [
    'a qkv bias in one block only',
    without(/^blocks\.1\.attn\.qkv\.bias$/),
    /3 tensors are missing: blocks\.1\.attn\.q\.bias/,
  ],
  ['LayerScale in one block only', add('blocks.0.ls1.gamma'), /1 tensor is missing: blocks\.1\.ls1\.gamma/],
  [
    'LayerScale of another width',
    (t) => Object.assign(t, { 'blocks.0.ls1.gamma': filled(1), 'blocks.1.ls1.gamma': filled(1) }),
    /2 tensors have another form: blocks\.0\.ls1\.gamma \[1\]/,
  ],
  [
    'q apart beside a fused qkv',
    (t) => Object.assign(t, { 'blocks.0.attn.q.weight': filled(12, 12) }),
    /nothing of the model is left for: blocks\.0\.attn\.qkv\.weight/,
  ],
  [
    'a block with a number of two digits',
    (t) => Object.assign(t, { 'blocks.00.norm1.weight': filled(12) }),
    /nothing of the model is left for: blocks\.00\.norm1/,
  ],
  ['no class token', without(/^cls_token$/), /no class token/],
  ['no positions', without(/^pos_embed$/), /no position embeddings that are learned/],
  [
    'positions without the class token',
    (t) => Object.assign(t, { pos_embed: filled(1, 4, 12) }),
    /4 tokens: 2 × 2 patches, without the class token/,
  ],
  [
    'positions of another form',
    (t) => Object.assign(t, { pos_embed: filled(1, 2, 2, 12) }),
    /position embeddings of the form \[1, 2, 2, 12\]/,
  ],
  ['positions of no square', (t) => Object.assign(t, { pos_embed: filled(1, 7, 12) }), /7 tokens, which are no square/],
  [
    'images of one channel',
    (t) => Object.assign(t, { 'patch_embed.proj.weight': filled(12, 1, 8, 8) }),
    /images with channels: 1;/,
  ],
  [
    'patches by a matrix',
    (t) => Object.assign(t, { 'patch_embed.proj.weight': filled(12, 192) }),
    /kernel of the form \[12, 192\]/,
  ],
  [
    'patches that are not square',
    (t) => Object.assign(t, { 'patch_embed.proj.weight': filled(12, 3, 8, 4) }),
    /patches of 8 × 4 pixels/,
  ],
  [
    'a block too many',
    (t) =>
      Object.assign(
        t,
        Object.fromEntries(
          Object.entries(t)
            .filter(([name]) => name.startsWith('blocks.1.'))
            .map(([name, tensor]) => [name.replace('blocks.1', 'blocks.2'), tensor]),
        ),
      ),
    /does not fit the model of the config:\n {2}depth is 3, in the config 2/,
  ],
  ['a block too few', without(/^blocks\.1\./), /depth is 1, in the config 2/],
  [
    'no ViT at all',
    renamed((name) => name.replace(/^(blocks|patch_embed)/, 'things')),
    /is no ViT whose names gqa knows.*\d+ tensors/,
  ],
  ['Swin', renamed((name) => (name.startsWith('blocks') ? `layers.0.${name}` : name)), /a network of stages \(Swin/],
  [
    'ResNet',
    renamed((name) => name.replace(/^blocks\.(\d+)/, 'layer1.$1').replace(/^patch_embed/, 'conv1')),
    /a convolutional network/,
  ],
  [
    'CLIP',
    renamed((name) => `vision_model.${name.replace('blocks', 'encoder.layers').replace('patch_embed', 'patch')}`),
    /a model of images and text/,
  ],
];

for (const [what, change, message] of REFUSED) {
  test(`refused: ${what}`, () => {
    assert.match(refusal(writeCheckpoint(timmTensors(change))), message);
  });
}

test('a part of a checkpoint in several files, and weights laid out for another library, are refused as that', () => {
  const part = writeCheckpoint(timmTensors(without(/^blocks\.1|^norm/)), null, 'model-00001-of-00002.safetensors');
  assert.match(refusal(part), /is a part \(00001 of 00002\) of a checkpoint in several files/);
  assert.match(refusal(writeCheckpoint(encodeSafetensors(timmTensors(), { format: 'flax' }))), /was written for flax/);
});

test('200 names that are unknown make a message of a few lines', () => {
  const names = Array.from({ length: 200 }, (_, i) => `strange.${i}.weight`);
  assert.match(
    refusal(writeCheckpoint(timmTensors(add(...names)))),
    /unknown to gqa.*strange\.0\.weight, strange\.1\.weight and 198 more$/m,
  );
});

const HARMLESS: [what: string, change: (tensors: Tensors) => unknown, notice: RegExp | null][] = [
  ['the mask token', add('mask_token'), /left out.*the mask token/],
  ['an average’s count', add('n_averaged'), /left out.*the count of an average/],
  [
    'averaged copies',
    (t) =>
      Object.assign(
        t,
        Object.fromEntries(
          Object.entries(timmTensors()).map(([name, { shape }]) => [`model_ema.module.${name}`, filled(...shape)]),
        ),
      ),
    /left out.*averaged copies of the weights/,
  ],
  [
    'the decoder of MAE',
    add('decoder_embed.weight', 'decoder_blocks.0.norm1.weight', 'decoder_pos_embed'),
    /left out.*the decoder of masked pretraining \(3\)/,
  ],
  ['a second head', add('aux_head.weight'), /left out.*a second head/],
  [
    'the optimizer',
    add('optimizer.state.0.exp_avg', 'lr_scheduler.last_epoch', 'epoch'),
    /left out.*the state of the optimizer \(2\), a counter/,
  ],
  ['the loss’s weights', add('criterion.weight'), /left out.*the loss/],
  ['module.', renamed((name) => `module.${name}`), /timm’s names behind “module\.”/],
  ['a prefix that nobody has thought of', renamed((name) => `a.b.c_d.${name}`), /timm’s names behind “a\.b\.c_d\.”/],
  ['torch.compile within', renamed((name) => name.replace(/^blocks\.(\d+)\./, 'blocks.$1._orig_mod.')), null],
];

const plain = convertCheckpoint(writeCheckpoint(timmTensors()), mha, 0).values;

for (const [what, change, notice] of HARMLESS) {
  test(`taken over all the same: a checkpoint with ${what}`, () => {
    const { values, notices, freshBecause } = convertCheckpoint(writeCheckpoint(timmTensors(change)), mha, 0);
    assert.deepEqual(values, plain);
    assert.equal(freshBecause, null);
    if (notice === null) assert.deepEqual(notices, []);
    else assert.match(notices.join('\n'), notice);
  });
}

test('an average alone, with nothing beside it, is the model', () => {
  const file = writeCheckpoint(timmTensors(renamed((name) => `state_dict_ema.${name}`)));
  assert.deepEqual(convertCheckpoint(file, mha, 0).values, plain);
});

test('a head beside the model is taken over with a warning', () => {
  const file = writeCheckpoint(timmTensors(renamed((name) => (name.startsWith('head') ? name : `backbone.${name}`))));
  const { values, warnings, freshBecause } = convertCheckpoint(file, mha, 0);
  assert.deepEqual(values, plain);
  assert.equal(freshBecause, null);
  assert.match(warnings.join('\n'), /its head lies outside the model \(head\)/);
});

const HEADS: [what: string, change: (tensors: Tensors) => unknown, because: RegExp | null][] = [
  ['no head', without(/^head/), /the checkpoint has no head/],
  ['a bias only', without(/^head\.weight/), /has a bias only/],
  [
    'a head of another width',
    (t) => Object.assign(t, { 'head.weight': filled(5, 24) }),
    /head is \[5, 24\], where one of \[classes, 12\]/,
  ],
  ['a head of convolution', (t) => Object.assign(t, { 'head.weight': filled(5, 12, 1, 1) }), /head is \[5, 12, 1, 1\]/],
  ['a bias of another length', (t) => Object.assign(t, { 'head.bias': filled(4) }), /has a bias of \[4\]/],
  ['a head of two layers', renamed((name) => name.replace(/^head\./, 'head.0.')), /no single linear layer \(head\.0\./],
  [
    'a head of other classes',
    (t) => Object.assign(t, { 'head.weight': filled(7, 12), 'head.bias': filled(7) }),
    /head has 7 classes/,
  ],
  ['a head without a bias', without(/^head\.bias/), null],
];

for (const [what, change, because] of HEADS) {
  test(`a checkpoint with ${what}: ${because === null ? 'zeros' : 'a fresh head, said aloud'}`, () => {
    const { values, freshBecause, fresh, notices } = convertCheckpoint(writeCheckpoint(timmTensors(change)), mha, 0);
    assert.deepEqual(values['blocks.1.mlp.fc2.weight'], plain['blocks.1.mlp.fc2.weight']);
    if (because === null) {
      assert.deepEqual(
        [freshBecause, values['head.weight'], [...(values['head.bias'] as Float32Array)]],
        [null, plain['head.weight'], [0, 0, 0, 0, 0]],
      );
      assert.match(notices.join('\n'), /no bias of the head/);
    } else {
      assert.match(freshBecause ?? '', because);
      assert.deepEqual(fresh, ['head.weight', 'head.bias']);
      assert.match(notices.join('\n'), /fresh head for 5 classes/);
    }
  });
}

test('LayerScale is folded: rows and bias times gamma, rounded once', () => {
  const gamma = Float32Array.from({ length: 12 }, (_, i) => 0.1 + 0.3 * i);
  const file = writeCheckpoint(
    timmTensors((t) => {
      for (const i of [0, 1])
        for (const ls of ['ls1', 'ls2']) t[`blocks.${i}.${ls}.gamma`] = { shape: [12], data: gamma };
    }),
  );
  const { values } = convertCheckpoint(file, mha, 0);
  for (const [name, row] of [
    ['blocks.0.attn.proj.weight', 12],
    ['blocks.0.attn.proj.bias', 1],
    ['blocks.1.mlp.fc2.weight', 24],
    ['blocks.1.mlp.fc2.bias', 1],
  ] as const) {
    const expected = (plain[name] as Float32Array).map((value, i) =>
      Math.fround(value * (gamma[Math.floor(i / row)] as number)),
    );
    assert.deepEqual(values[name], expected);
    assert.notDeepEqual(values[name], plain[name]);
  }
  assert.deepEqual(values['blocks.0.mlp.fc1.weight'], plain['blocks.0.mlp.fc1.weight']);
});

test('a file of a hundred million unknown bytes is refused without reading them', () => {
  const header = Buffer.from(
    JSON.stringify({ big: { dtype: 'F32', shape: [25_000_000], data_offsets: [0, 100_000_000] } }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = writeCheckpoint(Buffer.concat([length, header]));
  fs.truncateSync(file, 8 + header.length + 100_000_000);
  assert.match(refusal(file), /is no ViT whose names gqa knows/);
});
