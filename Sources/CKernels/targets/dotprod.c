// AArch64 with dot products of bytes (Armv8.2 and later: Cortex-A76, Neoverse N1, Apple M1).
#include "headers.h"
#if defined(__aarch64__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define CK_DOT_INSTRUCTION
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_dotprod
#include "all.h"
#pragma clang attribute pop
#endif
