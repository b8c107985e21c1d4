#include <stdbool.h>

#include "CLoader.h"

// One library: file names to try, the functions that we call, and where they turned out to be.
typedef struct {
  const char *const *files;
  const char *const *names;
  void **functions;
  int count;
  const char *failure;
} loader_table;

extern loader_table loader_cairo_table, loader_zip_table, loader_curl_table, loader_crypto_table;

#define LOADER_NAME(type, name, parameters, arguments) #name,
#define LOADER_INDEX(type, name, parameters, arguments) index_##name,

// Not visible to the libraries themselves, which may call their own functions by these names.
#define LOADER_DEFINE(library, type, name, parameters, arguments, zero)                     \
  __attribute__((visibility("hidden"))) type name parameters {                              \
    if (loader_failure(loader_##library)) return zero;                                      \
    return ((type(*) parameters)loader_##library##_table.functions[index_##name])arguments; \
  }

#define LOADER_TABLE(library, FUNCTIONS, VOIDS, ...)                              \
  enum { FUNCTIONS(LOADER_INDEX) VOIDS(LOADER_INDEX) function_count };            \
  static const char *const names[] = {FUNCTIONS(LOADER_NAME) VOIDS(LOADER_NAME)}; \
  static const char *const files[] = {__VA_ARGS__, 0};                            \
  static void *functions[function_count];                                         \
  loader_table loader_##library##_table = {files, names, functions, function_count, 0};
