/**
 * Each fused operation against its formula in float64, over sizes that fill vectors and tiles and that do not; gradients
 * against central differences of the same, along random directions. The addon is loaded by who runs this.
 */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { draws } from '../../src/random.js';
import { compile } from '../../src/trace/compile.js';
import { float32, traced } from '../../src/trace/function.js';
import { layersInUse } from '../../src/train/fused-layers.js';

export type Precision = 'float32' | 'bfloat16';
/** Of the largest magnitude. */
const TOLERANCE: Record<Precision, number> = { float32: 2e-5, bfloat16: 3e-2 };
/** Of the length of the gradient's part along a direction, by that of the gradient. */
const SLOPE: Record<Precision, number> = { float32: 1e-4, bfloat16: 3e-2 };
/** Gradients shorter than this are noise: where weights are all 1, what is left is how the output was rounded. */
const LEAST: Record<Precision, number> = { float32: 1e-2, bfloat16: 0.1 };

interface Input {
  shape: number[];
  values: Float64Array;
}
type Formula = (inputs: Float64Array[]) => Float64Array;
type Layer = (inputs: tf.Tensor[]) => tf.Tensor;

const from = draws(7, 'fused');
const normal = (): number => from.normals(1)[0] as number;
/** In bfloat16 the inputs are numbers that this has, so that nothing but the operation is measured. */
const rounded = (value: number, precision: Precision): number => {
  const bits = new Float32Array([value]);
  if (precision === 'bfloat16') new Uint16Array(bits.buffer)[0] = 0;
  return bits[0] as number;
};
const input = (precision: Precision, ...shape: number[]): Input => ({
  shape,
  values: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rounded(normal(), precision)),
});

/** @param flat inputs whose gradient is 0 by design */
function compare(
  what: string,
  precision: Precision,
  inputs: Input[],
  layer: Layer,
  formula: Formula,
  flat: number[] = [],
): void {
  const specs = Object.fromEntries(inputs.map(({ shape }, i) => [`x${i}`, float32(...shape)]));
  const expected = formula(inputs.map(({ values }) => values));
  const weights = Float64Array.from(expected, () => rounded(normal(), precision));
  const program = compile(
    {
      value: traced(specs, (given) => ({ y: layer(inputs.map((_, i) => given[`x${i}`] as tf.Tensor)) })),
      grads: traced({ ...specs, dy: float32(expected.length) }, (given: Record<string, tf.Tensor>) => {
        const all = inputs.map((_, i) => given[`x${i}`] as tf.Tensor);
        const loss = (...xs: tf.Tensor[]): tf.Tensor =>
          tf.sum(tf.mul(tf.reshape(layer(xs), [-1]), given.dy as tf.Tensor));
        return Object.fromEntries(
          tf
            .grads(loss)(all)
            .map((grad, i) => [`g${i}`, grad]),
        );
      }),
    },
    { precision, fused: true },
  );
  try {
    const feeds = Object.fromEntries(inputs.map(({ values }, i) => [`x${i}`, Float32Array.from(values)]));
    const { y } = program.run.value(feeds) as Record<string, tf.Tensor>;
    const found = (y as tf.Tensor).dataSync();
    const largest = Math.max(1e-3, ...expected.map(Math.abs));
    expected.forEach((value, i) => {
      const off = Math.abs((found[i] as number) - value);
      assert.ok(off <= TOLERANCE[precision] * largest, `${what}: [${i}] is ${found[i]}, not ${value}`);
    });
    const grads = program.run.grads({ ...feeds, dy: Float32Array.from(weights) }) as Record<string, tf.Tensor>;
    inputs.forEach(({ values }, which) => {
      const grad = Float64Array.from((grads[`g${which}`] as tf.Tensor).dataSync());
      const size = Math.hypot(...grad);
      if (flat.includes(which)) {
        assert.equal(size, 0, `${what}: the gradient of input ${which} is 0 by design`);
        return;
      }
      const direction = Float64Array.from(values, normal);
      const length = Math.hypot(...direction);
      const loss = (by: number): number => {
        const moved = values.map((value, i) => value + (by * (direction[i] as number)) / length);
        const y = formula(inputs.map((each, i) => (i === which ? moved : each.values)));
        return y.reduce((sum, value, i) => sum + value * (weights[i] as number), 0);
      };
      const slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
      const along = grad.reduce((sum, value, i) => sum + value * (direction[i] as number), 0) / length;
      const off = Math.abs(along - slope);
      assert.ok(
        off <= SLOPE[precision] * (size + LEAST[precision]),
        `${what}: gradient ${which} along a line is ${along}, not ${slope}`,
      );
    });
    tf.dispose([y as tf.Tensor, grads]);
  } finally {
    program.dispose();
  }
}

/** Products by OpenBLAS, of one part and of several, along either side. */
export function compareProducts(): void {
  const backend = tf.backend() as unknown as {
    binding: { TF_ATTR_TYPE: number; TF_FLOAT: number; TF_ATTR_BOOL: number };
    executeSingleOutput(op: string, attributes: object[], inputs: tf.Tensor[]): tf.Tensor;
  };
  const { TF_ATTR_TYPE, TF_FLOAT, TF_ATTR_BOOL } = backend.binding;
  for (const [m, n, k] of [
    [1, 1, 1],
    [3, 7, 5],
    [0, 4, 2],
    [17, 33, 129],
    [530, 70, 190],
    [66, 517, 205],
  ] as const)
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const [a, b] = [input('float32', m, k), input('float32', k, n)];
      const given = [transposed(a, transposeA), transposed(b, transposeB)].map(({ shape, values }) =>
        tf.tensor(Float32Array.from(values), shape),
      );
      const y = backend.executeSingleOutput(
        'GqaProduct',
        [
          { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
          { name: 'transpose_a', type: TF_ATTR_BOOL, value: transposeA },
          { name: 'transpose_b', type: TF_ATTR_BOOL, value: transposeB },
        ],
        given,
      );
      assert.deepEqual(y.shape, [m, n]);
      const found = y.dataSync();
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let l = 0; l < k; l++) sum += (a.values[i * k + l] as number) * (b.values[l * n + j] as number);
          const off = Math.abs((found[i * n + j] as number) - sum);
          assert.ok(off <= 1e-5 * Math.sqrt(k) + 1e-5, `[${m}, ${k}] · [${k}, ${n}]: [${i}, ${j}] is off by ${off}`);
        }
      tf.dispose([y, ...given]);
    }
}

function transposed({ shape, values }: Input, really: boolean): Input {
  if (!really) return { shape, values };
  const [rows = 0, columns = 0] = shape;
  return {
    shape: [columns, rows],
    values: values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number),
  };
}

const erf = (x: number): number => {
  // Taylor's series near 0, the continued fraction beyond: to 1e-14
  if (Math.abs(x) < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (Math.abs(x) + fraction);
  const tail = Math.exp(-x * x) / Math.sqrt(Math.PI) / (Math.abs(x) + fraction);
  return Math.sign(x) * (1 - tail);
};

const WIDTHS = [1, 3, 8, 16, 17, 31, 33, 64, 200];
export const PRECISIONS: Precision[] = ['float32', 'bfloat16'];

/** Layer norm, GELU and residual. */
export function compareRows(precision: Precision): void {
  for (const width of WIDTHS) {
    const rows = 1 + from.below(5);
    const x = input(precision, rows, width);
    const [gain, bias] = [input('float32', width), input('float32', width)];
    if (width > 1)
      compare(
        `norm [${rows}, ${width}]`,
        precision,
        [x, gain, bias],
        ([z, g, b]) => layersInUse().norm(z as tf.Tensor, g as tf.Tensor, b as tf.Tensor, 1e-3),
        ([z, g, b]) =>
          mapRows(z as Float64Array, width, (row) => {
            const mean = row.reduce((a, c) => a + c, 0) / width;
            const variance = row.reduce((a, c) => a + (c - mean) ** 2, 0) / width;
            return row.map(
              (c, j) => ((c - mean) / Math.sqrt(variance + 1e-3)) * (g?.[j] as number) + (b?.[j] as number),
            );
          }),
      );
    compare(
      `GELU [${rows}, ${width}]`,
      precision,
      [x, bias],
      ([z, b]) => layersInUse().biasGelu(z as tf.Tensor, b as tf.Tensor),
      ([z, b]) =>
        mapRows(z as Float64Array, width, (row) =>
          row.map((c, j) => {
            const v = c + (b?.[j] as number);
            return v * (0.5 + 0.5 * erf(v * Math.SQRT1_2));
          }),
        ),
    );
    compare(
      `residual [${rows}, ${width}]`,
      precision,
      [x, input(precision, rows, width), bias],
      ([a, r, b]) => layersInUse().residual(a as tf.Tensor, r as tf.Tensor, b as tf.Tensor),
      ([a, r, b]) => (a as Float64Array).map((c, i) => c + (r?.[i] as number) + (b?.[i % width] as number)),
    );
  }
}

/** Every way of sharing heads. */
export function compareAttention(precision: Precision): void {
  for (const [batch, tokens, width, keys, values, classToken] of [
    [1, 1, 1, [0], [0], false],
    [2, 5, 3, [0, 0, 1], [0, 0, 1], false],
    [2, 17, 8, [0, 1, 1, 0], [0, 1, 2, 3], false],
    [1, 33, 20, [1, 0], [0, 0], false],
    [3, 65, 16, [0, 0, 0, 0], [0, 0, 1, 1], false],
    [1, 131, 64, [0, 0, 1, 1], [0, 0, 1, 1], false],
    [2, 70, 32, [0, 0, 1], [0, 1, 1], true],
    [1, 16, 40, [0, 1, 2], [2, 1, 0], true],
  ] as [number, number, number, number[], number[], boolean][]) {
    const heads = keys.length;
    const [keyHeads, valueHeads] = [Math.max(...keys) + 1, Math.max(...values) + 1];
    const rows = classToken ? 1 : tokens;
    const inputs = [
      input(precision, batch * rows, heads * width),
      input(precision, batch * tokens, keyHeads * width),
      input(precision, batch * tokens, valueHeads * width),
      input('float32', heads * width),
      input('float32', keyHeads * width),
      input('float32', valueHeads * width),
    ];
    compare(
      `attention of ${batch} × ${rows} × ${tokens}, width ${width}, keys ${keys}, values ${values}`,
      precision,
      inputs,
      ([q, k, v, qBias, kBias, vBias]) =>
        layersInUse().attention(
          { q, k, v, qBias, kBias, vBias, batch, width } as Parameters<ReturnType<typeof layersInUse>['attention']>[0],
          { groups: { keys, values } },
        ),
      ([q, k, v, qBias, kBias, vBias]) =>
        attention({ batch, rows, tokens, width, keys, values, keyHeads, valueHeads }, [
          q,
          k,
          v,
          qBias,
          kBias,
          vBias,
        ] as Float64Array[]),
      [4], // the key bias adds the same to all scores of a query
    );
  }
}

function mapRows(x: Float64Array, width: number, f: (row: number[]) => number[]): Float64Array {
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += width) y.set(f([...x.subarray(r, r + width)]), r);
  return y;
}

function attention(
  of: {
    batch: number;
    rows: number;
    tokens: number;
    width: number;
    keys: number[];
    values: number[];
    keyHeads: number;
    valueHeads: number;
  },
  [q, k, v, qBias, kBias, vBias]: Float64Array[],
): Float64Array {
  const { batch, rows, tokens, width, keys, values, keyHeads, valueHeads } = of;
  const heads = keys.length;
  const out = new Float64Array(batch * rows * heads * width);
  const at = (
    x: Float64Array | undefined,
    bias: Float64Array | undefined,
    row: number,
    of: number,
    j: number,
  ): number => (x?.[row * of + j] as number) + (bias?.[j] as number);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let m = 0; m < rows; m++) {
        const scores = Array.from({ length: tokens }, (_, n) => {
          let dot = 0;
          for (let e = 0; e < width; e++)
            dot +=
              at(q, qBias, b * rows + m, heads * width, h * width + e) *
              at(k, kBias, b * tokens + n, keyHeads * width, (keys[h] as number) * width + e);
          return dot / Math.sqrt(width);
        });
        const top = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - top));
        const total = weights.reduce((a, c) => a + c, 0);
        for (let e = 0; e < width; e++) {
          let sum = 0;
          for (let n = 0; n < tokens; n++)
            sum +=
              (weights[n] as number) *
              at(v, vBias, b * tokens + n, valueHeads * width, (values[h] as number) * width + e);
          out[((b * rows + m) * heads + h) * width + e] = sum / total;
        }
      }
  return out;
}
