#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define FLOAT_LOOPS floatLoopsAvx2
#define BFLOAT16_LOOPS bfloat16LoopsAvx2
#include "loops.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
