// Attention in bfloat16 on the tile registers of processors with AMX: scores, weights and their gradients are products of
// tiles, summed in float32; exponentials, sums and what is kept are float32 as elsewhere. Weights and gradients of scores
// are rounded to bfloat16 between products, as TensorFlow's and torch's attention have them in this precision.
#include "loops.h"

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,fma,prefer-vector-width=512")
#include <immintrin.h>
#define LANES 16

namespace gqa {
namespace {

#include "vectors.inc"

// A tile is 16 rows of 64 bytes: 32 numbers of A, 16 pairs of B, 16 sums of C.
constexpr int SIDE = 16, PAIRS = 32;
constexpr int64_t toPairs(int64_t n) { return (n + PAIRS - 1) / PAIRS * PAIRS; }
// Query rows at a time.
constexpr int QUERIES = 64;

// All eight tiles of full size; what another library has set is put back at the end.
class Tiles {
 public:
  Tiles() {
    _tile_storeconfig(before_);
    alignas(64) uint8_t config[64] = {1};
    for (int tile = 0; tile < 8; tile++) {
      config[16 + 2 * tile] = 64;
      config[48 + tile] = SIDE;
    }
    _tile_loadconfig(config);
  }
  ~Tiles() { _tile_loadconfig(before_); }

 private:
  alignas(64) uint8_t before_[64];
};

inline void put(bfloat16* to, V v) {
  const __m256bh low = _mm512_cvtneps_pbh((__m512)v);
  __builtin_memcpy(to, &low, sizeof low);
}

// C[rows × columns] (+)= A · B: rows and columns multiples of 16, depth of 32. B is given in pairs, [depth / 2][columns][2].
// Strides are in elements.
template <bool ADD>
void product(int64_t rows, int64_t columns, int64_t depth, const bfloat16* a, int64_t am, const bfloat16* b, int64_t bk,
             float* c, int64_t cm) {
  for (int64_t m = 0; m < rows; m += 2 * SIDE)
    for (int64_t n = 0; n < columns; n += 2 * SIDE) {
      const bool down = m + SIDE < rows, across = n + SIDE < columns;
      float* to = c + m * cm + n;
      if (ADD) {
        _tile_loadd(0, to, cm * 4);
        if (across) _tile_loadd(1, to + SIDE, cm * 4);
        if (down) _tile_loadd(2, to + SIDE * cm, cm * 4);
        if (down && across) _tile_loadd(3, to + SIDE * cm + SIDE, cm * 4);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      for (int64_t k = 0; k < depth; k += PAIRS) {
        const bfloat16 *left = a + m * am + k, *right = b + k / 2 * bk + 2 * n;
        _tile_loadd(4, left, am * 2);
        _tile_loadd(6, right, bk * 2);
        _tile_dpbf16ps(0, 4, 6);
        if (across) {
          _tile_loadd(7, right + 2 * SIDE, bk * 2);
          _tile_dpbf16ps(1, 4, 7);
        }
        if (down) {
          _tile_loadd(5, left + SIDE * am, am * 2);
          _tile_dpbf16ps(2, 5, 6);
          if (across) _tile_dpbf16ps(3, 5, 7);
        }
      }
      _tile_stored(0, to, cm * 4);
      if (across) _tile_stored(1, to + SIDE, cm * 4);
      if (down) _tile_stored(2, to + SIDE * cm, cm * 4);
      if (down && across) _tile_stored(3, to + SIDE * cm + SIDE, cm * 4);
    }
}

// to[high × wide] = rows of a head, with their bias where there is one; 0 beyond rows and width
void copyHead(const bfloat16* from, int64_t stride, int rows, int width, const float* bias, bfloat16* to, int64_t high,
              int64_t wide) {
  for (int64_t r = 0; r < high; r++)
    for (int64_t j = 0; j < wide; j += LANES) {
      V x = {};
      if (r < rows && j < width) {
        const int64_t left = width - j;
        if (left >= LANES) {
          x = load(from + r * stride + j, Whole{});
          if (bias != nullptr) x += load(bias + j, Whole{});
        } else {
          x = load(from + r * stride + j, Part{left});
          if (bias != nullptr) x += load(bias + j, Part{left});
        }
      }
      put(to + r * wide + j, x);
    }
}

// Pairs along the rows of from[high × wide]: to[high / 2][wide][2]
void pairRows(const bfloat16* from, int64_t high, int64_t wide, bfloat16* to) {
  for (int64_t r = 0; r < high; r += 2)
    for (int64_t j = 0; j < wide; j += LANES) {
      H one, other;
      __builtin_memcpy(&one, from + r * wide + j, sizeof one);
      __builtin_memcpy(&other, from + (r + 1) * wide + j, sizeof other);
      const U both = __builtin_convertvector(one, U) | (__builtin_convertvector(other, U) << 16);
      __builtin_memcpy(to + r * wide + 2 * j, &both, sizeof both);
    }
}

// Pairs along the columns of from[high × wide], turned: to[wide / 2][high][2]
void pairColumns(const bfloat16* from, int64_t high, int64_t wide, bfloat16* to) {
  for (int64_t r = 0; r < high; r += LANES)
    for (int64_t j = 0; j < wide / 2; j += LANES) {
      V square[LANES];
      for (int i = 0; i < LANES; i++) __builtin_memcpy(&square[i], from + (r + i) * wide + 2 * j, sizeof(V));
      turn(square);
      for (int i = 0; i < LANES; i++) __builtin_memcpy(to + (j + i) * 2 * high + 2 * r, &square[i], sizeof(V));
    }
}

// to[columns × rows] = the transpose of from[rows × columns]
void turned(const float* from, int64_t rows, int64_t columns, bfloat16* to) {
  for (int64_t r = 0; r < rows; r += LANES)
    for (int64_t j = 0; j < columns; j += LANES) {
      V square[LANES];
      for (int i = 0; i < LANES; i++) square[i] = load(from + (r + i) * columns + j, Whole{});
      turn(square);
      for (int i = 0; i < LANES; i++) put(to + (j + i) * rows + r, square[i]);
    }
}

// Floats and halves one after the other, each at a multiple of 64 bytes.
class Room {
 public:
  explicit Room(float* at) : at_(at) {}
  float* floats(int64_t count) {
    float* found = at_;
    at_ += roundedUp(count);
    return found;
  }
  bfloat16* halves(int64_t count) { return reinterpret_cast<bfloat16*>(floats((count + 1) / 2)); }

 private:
  float* at_;
};

int64_t attendScratch(int tokens, int width, int keyHeads, int valueHeads) {
  const int64_t head = toPairs(tokens) * toPairs(width), rows = QUERIES * toPairs(width), scores = QUERIES * toPairs(tokens);
  return 5 * (head / 2 + WIDEST) + (keyHeads + valueHeads) * head + 4 * scores + 4 * rows + 16 * WIDEST;
}

// What does not change for all query rows of a call.
struct Sizes {
  int64_t high, wide, rowQ, rowK, rowV;
  float scale;
  explicit Sizes(const Attention<bfloat16>& of)
      : high(toPairs(of.tokens)),
        wide(toPairs(of.width)),
        rowQ(int64_t{of.heads} * of.width),
        rowK(int64_t{of.keyHeads} * of.width),
        rowV(int64_t{of.valueHeads} * of.width),
        scale(1.f / __builtin_sqrtf((float)of.width)) {}
};

// Key head `key` of an image with its bias, and value head `value`.
void copyKeys(const Attention<bfloat16>& of, const Sizes& s, int image, int key, bfloat16* to) {
  const int64_t at = key * of.width;
  copyHead(of.k + image * of.tokens * s.rowK + at, s.rowK, of.tokens, of.width, of.kBias + at, to, s.high, s.wide);
}
void copyValues(const Attention<bfloat16>& of, const Sizes& s, int image, int value, bfloat16* to) {
  const int64_t at = value * of.width;
  copyHead(of.v + image * of.tokens * s.rowV + at, s.rowV, of.tokens, of.width, of.vBias + at, to, s.high, s.wide);
}

void attend(const Attention<bfloat16>& of, int image, const Component& component, float* scratch) {
  const Tiles tiles;
  const Sizes s(of);
  const int N = of.tokens, E = of.width;
  Room room(scratch);
  bfloat16 *head = room.halves(s.high * s.wide), *keys = room.halves(s.high * s.wide),
           *values = room.halves(s.high * s.wide), *queries = room.halves(QUERIES * s.wide),
           *weights = room.halves(QUERIES * s.high);
  float *scores = room.floats(QUERIES * s.high), *outputs = room.floats(QUERIES * s.wide);
  int key = -1, value = -1;
  for (int i = 0; i < component.headCount; i++) {
    const int h = component.heads[i];
    if (of.keyOf[h] != key) {
      key = of.keyOf[h];
      copyKeys(of, s, image, key, head);
      pairColumns(head, s.high, s.wide, keys);
    }
    if (of.valueOf[h] != value) {
      value = of.valueOf[h];
      copyValues(of, s, image, value, head);
      pairRows(head, s.high, s.wide, values);
    }
    for (int m0 = 0; m0 < of.queries; m0 += QUERIES) {
      const int m = of.queries - m0 < QUERIES ? of.queries - m0 : QUERIES;
      const int64_t rows = padded(m), at = (int64_t{image} * of.queries + m0) * s.rowQ + h * E;
      copyHead(of.q + at, s.rowQ, m, E, of.qBias + h * E, queries, rows, s.wide);
      product<false>(rows, s.high, s.wide, queries, s.wide, keys, 2 * s.high, scores, s.high);
      float inverse[QUERIES];
      for (int r = 0; r < m; r++) {
        const float* row = scores + r * s.high;
        V most = all(-__builtin_inff());
        across(N, [&](int64_t n, auto part) { most = maximum(most, filled(load(row + n, part), part, -__builtin_inff())); });
        const float top = largest(most) * s.scale;
        V sums = {};
        across(N, [&](int64_t n, auto part) {
          V e = cut(exponential(load(row + n, part) * s.scale - top), part);
          sums += e;
          put(weights + r * s.high + n, e);
        });
        for (int64_t n = padded(N); n < s.high; n += LANES) put(weights + r * s.high + n, V{});
        const float total = sum(sums);
        inverse[r] = 1.f / total;
        of.lse[(int64_t{image} * of.heads + h) * of.queries + m0 + r] = top + __builtin_logf(total);
      }
      product<false>(rows, s.wide, s.high, weights, s.high, values, 2 * s.wide, outputs, s.wide);
      for (int r = 0; r < m; r++)
        across(E, [&](int64_t e, auto part) {
          store(of.out + at + r * s.rowQ + e, load(outputs + r * s.wide + e, part) * inverse[r], part);
        });
    }
  }
}

void attendGrad(const Attention<bfloat16>& of, int image, const Component& component, float* scratch) {
  const Tiles tiles;
  const Sizes s(of);
  const int N = of.tokens, E = of.width;
  const int64_t headSize = s.high * s.wide;
  Room room(scratch);
  bfloat16 *head = room.halves(headSize), *keys = room.halves(headSize), *keyRows = room.halves(headSize),
           *values = room.halves(headSize), *queries = room.halves(QUERIES * s.wide),
           *queryRows = room.halves(QUERIES * s.wide), *dOutputs = room.halves(QUERIES * s.wide),
           *dOutputRows = room.halves(QUERIES * s.wide), *dRounded = room.halves(QUERIES * s.high),
           *turnedScores = room.halves(QUERIES * s.high);
  float *scores = room.floats(QUERIES * s.high), *dScores = room.floats(QUERIES * s.high),
        *dQueries = room.floats(QUERIES * s.wide), *dKeys = room.floats(component.keyCount * headSize),
        *dValues = room.floats(component.valueCount * headSize);
  clear(dKeys, component.keyCount * headSize);
  clear(dValues, component.valueCount * headSize);
  int key = -1, value = -1;
  for (int i = 0; i < component.headCount; i++) {
    const int h = component.heads[i];
    if (of.keyOf[h] != key) {
      key = of.keyOf[h];
      copyKeys(of, s, image, key, head);
      pairColumns(head, s.high, s.wide, keys);
      pairRows(head, s.high, s.wide, keyRows);
    }
    if (of.valueOf[h] != value) {
      value = of.valueOf[h];
      copyValues(of, s, image, value, head);
      pairColumns(head, s.high, s.wide, values);
    }
    float* dKey = dKeys + placeOf(component.keys, key) * headSize;
    float* dValue = dValues + placeOf(component.values, value) * headSize;
    for (int m0 = 0; m0 < of.queries; m0 += QUERIES) {
      const int m = of.queries - m0 < QUERIES ? of.queries - m0 : QUERIES;
      const int64_t rows = toPairs(m), at = (int64_t{image} * of.queries + m0) * s.rowQ + h * E;
      copyHead(of.q + at, s.rowQ, m, E, of.qBias + h * E, queries, rows, s.wide);
      copyHead(of.dOut + at, s.rowQ, m, E, nullptr, dOutputs, rows, s.wide);
      product<false>(rows, s.high, s.wide, queries, s.wide, keys, 2 * s.high, scores, s.high);
      product<false>(rows, s.high, s.wide, dOutputs, s.wide, values, 2 * s.high, dScores, s.high);
      for (int r = 0; r < m; r++) {
        V dots = {};
        across(E, [&](int64_t e, auto part) {
          dots += load(dOutputs + r * s.wide + e, part) * load(of.out + at + r * s.rowQ + e, part);
        });
        const float dot = sum(dots), lse = of.lse[(int64_t{image} * of.heads + h) * of.queries + m0 + r];
        float *row = scores + r * s.high, *dRow = dScores + r * s.high;
        across(N, [&](int64_t n, auto part) {
          V p = cut(exponential(load(row + n, part) * s.scale - lse), part), d = p * (load(dRow + n, part) - dot) * s.scale;
          store(row + n, p, Whole{});
          store(dRow + n, d, Whole{});
        });
        for (int64_t n = padded(N); n < s.high; n += LANES) {
          store(row + n, V{}, Whole{});
          store(dRow + n, V{}, Whole{});
        }
        for (int64_t n = 0; n < s.high; n += LANES) put(dRounded + r * s.high + n, load(dRow + n, Whole{}));
      }
      for (int64_t r = m; r < rows; r++) {
        clear(scores + r * s.high, s.high);
        clear(dScores + r * s.high, s.high);
        for (int64_t n = 0; n < s.high; n += LANES) put(dRounded + r * s.high + n, V{});
      }
      pairRows(dOutputs, rows, s.wide, dOutputRows);
      turned(scores, rows, s.high, turnedScores);
      product<true>(s.high, s.wide, rows, turnedScores, rows, dOutputRows, 2 * s.wide, dValue, s.wide);
      pairRows(queries, rows, s.wide, queryRows);
      turned(dScores, rows, s.high, turnedScores);
      product<true>(s.high, s.wide, rows, turnedScores, rows, queryRows, 2 * s.wide, dKey, s.wide);
      product<false>(rows, s.wide, s.high, dRounded, s.high, keyRows, 2 * s.wide, dQueries, s.wide);
      for (int r = 0; r < m; r++)
        across(E, [&](int64_t e, auto part) {
          store(of.dq + at + r * s.rowQ + e, load(dQueries + r * s.wide + e, part), part);
        });
    }
  }
  const auto give = [&](const int32_t* list, int count, const float* from, bfloat16* to, int64_t row) {
    for (int i = 0; i < count; i++)
      for (int n = 0; n < N; n++)
        across(E, [&](int64_t e, auto part) {
          store(to + (int64_t{image} * N + n) * row + list[i] * E + e, load(from + i * headSize + n * s.wide + e, part), part);
        });
  };
  give(component.keys, component.keyCount, dKeys, of.dk, s.rowK);
  give(component.values, component.valueCount, dValues, of.dv, s.rowV);
}

}  // namespace

bool takeAmx(Loops<bfloat16>& loops) {
  loops.attend = attend;
  loops.attendGrad = attendGrad;
  loops.attendScratch = attendScratch;
  return true;
}

}  // namespace gqa

#else

namespace gqa {
bool takeAmx(Loops<bfloat16>&) { return false; }
}  // namespace gqa

#endif
