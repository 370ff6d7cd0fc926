// What the fused operations compute, by rows or images, without threads and without TensorFlow. loops.inc has the loops;
// they are compiled once for each instruction set, and chosen when the addon is loaded.
#pragma once
#include <cstdint>

namespace gqa {

struct bfloat16 {
  uint16_t bits;
};

struct Range {
  int64_t from, to;
};

// One step of AdamW. A factor of 0 makes the gradient 0, whatever it is.
struct AdamW {
  float keep, step, beta1, beta2, epsilon, factor, average;
};

// What a step changes: parameter, moments and moving average, and the first and last once more in bfloat16; what a run
// does without is null.
struct Moved {
  float *target, *first, *second, *average;
  bfloat16 *lowTarget, *lowAverage;
};

// Heads H of `width` numbers; rows of the projections, [B·M, H·E], [B·N, K·E] and [B·N, V·E], without their biases.
template <class T>
struct Attention {
  int batch, queries, tokens, heads, keyHeads, valueHeads, width;
  const T *q, *k, *v;
  const float *qBias, *kBias, *vBias;
  const int32_t *keyOf, *valueOf;  // [H], the key and the value head that a query head reads
  T* out;      // [B·M, H·E]
  float* lse;  // [B, H, M], log Σ exp of the scores
  const T* dOut;
  T *dq, *dk, *dv;
};

// Query heads that share keys or values, directly or through others: nobody else adds to the gradients of theirs.
struct Component {
  const int32_t *heads, *keys, *values;
  int headCount, keyCount, valueCount;
};

template <class T>
struct Loops {
  // y = (x − mean) · rstd · gain + bias; stats: mean and rstd of each row
  void (*norm)(Range rows, int64_t width, const float* x, const float* gain, const float* bias, float epsilon, T* y,
               float* stats);
  // dgain and dbias are added to; all three may be rounded up to whole vectors
  void (*normGrad)(Range rows, int64_t width, const T* dy, const float* x, const float* gain, const float* stats,
                   float* dx, float* dgain, float* dbias);
  // z + bias through x · Φ(x)
  void (*biasGelu)(Range rows, int64_t width, const T* z, const float* bias, T* y);
  void (*biasGeluGrad)(Range rows, int64_t width, const T* dy, const T* z, const float* bias, T* dz, float* dbias);
  void (*columnSums)(Range rows, int64_t width, const T* x, float* sums);
  // x + r + bias
  void (*residual)(Range rows, int64_t width, const float* x, const T* r, const float* bias, float* y);
  void (*adamw)(Range elements, const T* gradient, const AdamW& step, const Moved& moved);
  // One image's heads of a component. `scratch`: as many floats as attendScratch says.
  void (*attend)(const Attention<T>& of, int image, const Component& component, float* scratch);
  void (*attendGrad)(const Attention<T>& of, int image, const Component& component, float* scratch);
  int64_t (*attendScratch)(int tokens, int width, int keyHeads, int valueHeads);
};

// Vectors are 16 numbers at most: rows of sums that are rounded up to this and begin at such a place take no tail.
constexpr int64_t WIDEST = 16;
constexpr int64_t roundedUp(int64_t n) { return (n + WIDEST - 1) / WIDEST * WIDEST; }

extern const Loops<float> floatLoopsAvx2, floatLoopsAvx512;
extern const Loops<bfloat16> bfloat16LoopsAvx2, bfloat16LoopsAvx512;
// Puts attention on tile registers in place of what is there; false where the compiler does not know them.
bool takeAmx(Loops<bfloat16>& loops);

}  // namespace gqa
