// Any AArch64 processor.
#include "headers.h"
#if defined(__aarch64__)
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_neon
#include "all.h"
#endif
