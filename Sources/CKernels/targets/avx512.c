// x86-64 with AVX-512 F, BW, DQ and VL (Skylake-X, Zen 4 and later).
#include "headers.h"
#if defined(__x86_64__)
#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#define CK_AVX2
#define CK_AVX512
#define LANES 16
#define TILE_ROWS 12
#define CK(name) name##_avx512
#include "all.h"
#pragma clang attribute pop
#endif
