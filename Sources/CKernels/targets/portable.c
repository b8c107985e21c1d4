// For any processor: the compiler's choice for the base architecture (SSE2, NEON).
#include "headers.h"
// Vectors pass between inlined functions only, so how a call would pass them does not matter.
#pragma clang diagnostic ignored "-Wpsabi"
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_portable
#include "all.h"
