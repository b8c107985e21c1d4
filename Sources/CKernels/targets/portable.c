// Any other processor, and x86-64 without AVX2: baseline instructions only.
#include "headers.h"
#if !defined(__aarch64__)
// Vectors are passed between inlined functions only, so their calling convention does not matter.
#pragma clang diagnostic ignored "-Wpsabi"
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_portable
#include "all.h"
#endif
