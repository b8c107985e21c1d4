#include "CVersion.h"

// Written by Scripts/version, not in git.
#if __has_include("described.h")
#include "described.h"
#else
#define SWIFTLET_VERSION "0.2.0-dev"
#endif

const char *swiftlet_version(void) { return SWIFTLET_VERSION; }
