// x86-64 with AVX2, FMA and F16C (Haswell, Zen and later).
#include "headers.h"
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define CK_AVX2
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_avx2
#include "all.h"
#pragma clang attribute pop
#endif
