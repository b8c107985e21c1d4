// x86-64 with AMX and what avx512bf16.c requires (Sapphire Rapids and later). Products only; avx512bf16.c has the rest.
#include "headers.h"
#if defined(__x86_64__)
#pragma clang attribute push(                                                                                          \
  __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c"))), \
  apply_to = function)
#define CK_AVX2
#define CK_AVX512
#define CK_BFLOAT16
#define CK_AMX
#define LANES 16
#define TILE_ROWS 12
#define CK(name) name##_amx
#include "../vector.h"
#include "../formats.h"
#include "../packing.h"
#include "../amx.h"
#include "../gemm.h"
#pragma clang attribute pop
#endif
