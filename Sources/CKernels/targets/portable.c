// Any processor: baseline instructions only.
#include "headers.h"
// Vectors are passed between inlined functions only, so their calling convention does not matter.
#pragma clang diagnostic ignored "-Wpsabi"
#define LANES 8
#define TILE_ROWS 6
#define CK(name) name##_portable
#include "all.h"
