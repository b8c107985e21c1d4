// x86-64 with AVX-512, BF16 and VNNI (Cooper Lake, Zen 4 and later).
#include "headers.h"
#if defined(__x86_64__)
#pragma clang attribute push(                                                                        \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c"))), \
  apply_to = function)
#define CK_AVX2
#define CK_AVX512
#define CK_BFLOAT16
#define CK_VNNI
#define LANES 16
#define TILE_ROWS 12
#define CK(name) name##_avx512bf16
#include "all.h"
#pragma clang attribute pop
#endif
