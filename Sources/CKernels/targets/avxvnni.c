// x86-64 with AVX2 and AVX-VNNI but without AVX-512 (Alder Lake and later).
#include "headers.h"
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#define CK_AVX2
#define CK_DOT_INSTRUCTION
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_avxvnni
#include "all.h"
#pragma clang attribute pop
#endif
