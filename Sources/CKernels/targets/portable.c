// For any processor: the compiler's choice for the base architecture (SSE2, NEON).
#include "../vector.h"
#define CK(name) name##_portable
#include "all.h"
