import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/native/backend.js';
import { draws } from '../../src/random.js';
import { crossEntropySum } from '../../src/train/loss.js';
import {
  drawMix,
  type Mix,
  type MixInputs,
  mainLabels,
  mixed,
  mixValues,
  partnersOf,
  symmetricBeta,
  UNMIXED,
} from '../../src/train/mix.js';

before(async () => {
  await startBackend('auto');
});

const SIZE = 8;

function tensorsOf(mix: Mix, weights: number[]): MixInputs {
  const { lambda, box, partners } = mixValues(mix, Float32Array.from(weights));
  return { lambda: tf.scalar(lambda), box: tf.tensor1d(box, 'int32'), partners: tf.tensor1d(partners, 'int32') };
}

/** Image i of a batch is i + 1 throughout, red; its label is i. */
function mixedBatch(mix: Mix, weights: number[]): { images: number[][][]; labels: number[] } {
  return tf.tidy(() => {
    const count = weights.length;
    const images = tf.tile(tf.reshape(tf.range(1, count + 1), [count, 1, 1, 1]), [1, SIZE, SIZE, 1]);
    const found = mixed(images, tf.range(0, count, 1, 'int32'), tensorsOf(mix, weights));
    return {
      images: tf.reshape(found.images, [count, SIZE, SIZE]).arraySync() as number[][][],
      labels: Array.from(found.mix.labels.dataSync()),
    };
  });
}

test('λ follows Beta(α, α): distribution function, mean and variance, for small and large α too', () => {
  const sample = (alpha: number): number[] => {
    const from = draws(1, 'beta');
    return Array.from({ length: 100_000 }, () => symmetricBeta(alpha, from));
  };
  const below = (values: number[], bound: number): number =>
    values.filter((value) => value < bound).length / values.length;
  assert.ok(Math.abs(below(sample(1), 0.2) - 0.2) < 0.01, 'α = 1 is uniform');
  assert.ok(Math.abs(below(sample(0.5), 0.25) - 1 / 3) < 0.01, 'α = 1/2 is the arcsine distribution');
  assert.ok(Math.abs(below(sample(2), 0.25) - 0.15625) < 0.01, 'α = 2: 3x² − 2x³');
  for (const alpha of [1e-4, 0.1, 0.8, 3, 200]) {
    const values = sample(alpha);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    const expected = 1 / (4 * (2 * alpha + 1));
    assert.ok(Math.abs(mean - 0.5) < 5 * Math.sqrt(expected / values.length), `mean of α = ${alpha}: ${mean}`);
    assert.ok(Math.abs(variance / expected - 1) < 0.05, `variance of α = ${alpha}: ${variance}`);
    assert.ok(values.every((value) => value >= 0 && value <= 1));
  }
});

test('a CutMix box lies in the image, and λ is what it leaves of it; boxes have area 1 − λ where no edge clips them', () => {
  let clipped = 0;
  for (let i = 0; i < 500; i++) {
    const { lambda, box } = drawMix({ mixup: null, cutmix: 1 }, 224, draws(1, 'mix', 0, i));
    const [top, bottom, left, right] = box;
    assert.ok(0 <= top && top <= bottom && bottom <= 224 && 0 <= left && left <= right && right <= 224, `${box}`);
    const share = ((bottom - top) * (right - left)) / 224 ** 2;
    assert.ok(Math.abs(1 - share - lambda) < 1e-12);
    const drawn = 1 - symmetricBeta(1, draws(1, 'mix', 0, i)); // the first draws of the same row
    if (top > 0 && left > 0 && bottom < 224 && right < 224)
      assert.ok(share <= drawn && share >= (Math.sqrt(drawn) - 2 / 224) ** 2 - 1e-12);
    else {
      clipped++;
      assert.ok(share <= drawn);
    }
  }
  assert.ok(clipped > 100 && clipped < 450, `${clipped}`);
});

test('the draws depend on seed, epoch and batch alone; with both kinds asked for each comes about half the time, with one only that one', () => {
  const kinds = { mixup: 0.8, cutmix: 1 };
  const drawn = Array.from({ length: 400 }, (_, i) => drawMix(kinds, 32, draws(5, 'mix', 1, i)));
  assert.deepEqual(drawMix(kinds, 32, draws(5, 'mix', 1, 17)), drawn[17]);
  assert.notDeepEqual(drawMix(kinds, 32, draws(5, 'mix', 2, 17)), drawn[17]);
  assert.notDeepEqual(drawMix(kinds, 32, draws(6, 'mix', 1, 17)), drawn[17]);
  const boxes = drawn.filter(({ box }) => box[1] > box[0]).length;
  assert.ok(boxes > 150 && boxes < 250, `${boxes}`);
  for (let i = 0; i < 50; i++)
    assert.deepEqual(drawMix({ mixup: 0.8, cutmix: null }, 32, draws(5, 'mix', 1, i)).box, [0, 0, 0, 0]);
  assert.deepEqual(drawMix({ mixup: null, cutmix: null }, 32, draws(5, 'mix', 1, 0)), UNMIXED);
});

test('partners are real images only: mirrored among themselves, whatever was left out between them', () => {
  assert.deepEqual([...partnersOf(Float32Array.of(1, 1, 1, 1))], [3, 2, 1, 0]);
  assert.deepEqual([...partnersOf(Float32Array.of(1, 1, 1, 0, 0))], [2, 1, 0, 3, 4]);
  assert.deepEqual([...partnersOf(Float32Array.of(1, 0, 1, 1, 1, 0))], [4, 1, 3, 2, 0, 5]);
});

test('mixup: every pixel is λ of its own and 1 − λ of the partner’s', () => {
  const { images, labels } = mixedBatch({ lambda: 0.75, box: [0, 0, 0, 0] }, [1, 1, 1, 0]);
  assert.deepEqual(labels, [2, 1, 0, 3]);
  const expected = [0.75 * 1 + 0.25 * 3, 2, 0.75 * 3 + 0.25 * 1, 4];
  for (const [i, image] of images.entries())
    assert.ok(image.flat().every((value) => Math.abs(value - (expected[i] as number)) < 1e-6));
});

test('cutmix: the box is the partner’s to the bit, the rest its own', () => {
  const box = [2, 5, 6, 8] as const;
  const { images } = mixedBatch({ lambda: 1 - 6 / 64, box }, [1, 1]);
  for (const [i, image] of images.entries())
    for (const [row, values] of image.entries())
      for (const [column, value] of values.entries())
        assert.equal(value, row >= 2 && row < 5 && column >= 6 ? 2 - i : i + 1, `${i} ${row} ${column}`);
});

test('λ = 1 leaves images and loss as they are, to the bit', () => {
  const { images } = mixedBatch(UNMIXED, [1, 1, 1]);
  for (const [i, image] of images.entries()) assert.ok(image.flat().every((value) => value === i + 1));
  tf.tidy(() => {
    const logits = tf.tensor2d([
      [0.3, -1, 2],
      [1, 1.5, -0.5],
    ]);
    const [labels, others, weights] = [tf.tensor1d([2, 0], 'int32'), tf.tensor1d([0, 2], 'int32'), tf.ones([2])];
    const loss = (lambda: number | null): number =>
      crossEntropySum(
        logits,
        labels,
        weights,
        0.1,
        lambda === null ? null : { lambda: tf.scalar(lambda), labels: others },
      ).dataSync()[0] as number;
    assert.equal(loss(1), loss(null));
    assert.notEqual(loss(0.9), loss(null));
  });
});

test('the loss of a mixed label: worked by hand for two classes, and its gradient is softmax − target', () => {
  // logits (2, 0), label 0, the partner's 1, λ = 0.7, ε = 0.2: targets 0.8 · 0.7 + 0.1 = 0.66 and 0.34; log-softmax
  // −0.126928, −2.126928
  tf.tidy(() => {
    const mix = { lambda: tf.scalar(0.7), labels: tf.tensor1d([1], 'int32') };
    const loss = (z: tf.Tensor): tf.Scalar =>
      crossEntropySum(z, tf.tensor1d([0], 'int32'), tf.tensor1d([1]), 0.2, mix) as tf.Scalar;
    const { value, grad } = tf.valueAndGrad(loss)(tf.tensor2d([[2, 0]]));
    assert.ok(Math.abs((value.dataSync()[0] as number) - (0.66 * 0.126928 + 0.34 * 2.126928)) < 1e-5);
    const [first, second] = grad.dataSync() as unknown as [number, number];
    assert.ok(Math.abs(first - (0.880797 - 0.66)) < 1e-5);
    assert.ok(Math.abs(second - (0.119203 - 0.34)) < 1e-5);
  });
});

test('training’s top-1 is counted by the label with the larger share, at λ = 0.5 by an image’s own', () => {
  const main = (lambda: number): number[] =>
    tf.tidy(() =>
      Array.from(
        mainLabels(tf.tensor1d([3, 4], 'int32'), {
          lambda: tf.scalar(lambda),
          labels: tf.tensor1d([4, 3], 'int32'),
        }).dataSync(),
      ),
    );
  assert.deepEqual(
    [main(0.9), main(0.5), main(0.4)],
    [
      [3, 4],
      [3, 4],
      [4, 3],
    ],
  );
});
