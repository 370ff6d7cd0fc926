#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512")
#endif
#define LANES 16
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define FLOAT_LOOPS floatLoopsAvx512
#define BFLOAT16_LOOPS bfloat16LoopsAvx512
#include "loops.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
