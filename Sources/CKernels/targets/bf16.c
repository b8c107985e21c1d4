// AArch64 with dot products of bytes and of bfloat16 (Armv8.6 and later: Neoverse V1, Apple M2).
#include "headers.h"
#if defined(__aarch64__)
#pragma clang attribute push(__attribute__((target("dotprod,bf16"))), apply_to = function)
#define CK_DOT_INSTRUCTION
#define CK_BFLOAT16
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_bf16
#include "all.h"
#pragma clang attribute pop
#endif
