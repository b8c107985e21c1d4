// Without the visibility that the header gives to functions of a shared library.
#define ZIP_STATIC
#include <zip.h>

#include "loader.h"

#define FUNCTIONS(F)                                                                                          \
  F(zip_t *, zip_open, (const char *a, int b, int *c), (a, b, c))                                             \
  F(int, zip_close, (zip_t * a), (a))                                                                         \
  F(const char *, zip_error_strerror, (zip_error_t * a), (a))                                                 \
  F(const char *, zip_strerror, (zip_t * a), (a))                                                             \
  F(zip_int64_t, zip_file_add, (zip_t * a, const char *b, zip_source_t *c, zip_flags_t d), (a, b, c, d))      \
  F(int, zip_register_progress_callback_with_state,                                                           \
    (zip_t * a, double b, zip_progress_callback c, void (*d)(void *), void *e), (a, b, c, d, e))              \
  F(int, zip_set_file_compression, (zip_t * a, zip_uint64_t b, zip_int32_t c, zip_uint32_t d), (a, b, c, d))  \
  F(zip_source_t *, zip_source_file, (zip_t * a, const char *b, zip_uint64_t c, zip_int64_t d), (a, b, c, d)) \
  F(zip_int64_t, zip_get_num_entries, (zip_t * a, zip_flags_t b), (a, b))                                     \
  F(const char *, zip_get_name, (zip_t * a, zip_uint64_t b, zip_flags_t c), (a, b, c))                        \
  F(int, zip_stat, (zip_t * a, const char *b, zip_flags_t c, zip_stat_t *d), (a, b, c, d))                    \
  F(zip_file_t *, zip_fopen, (zip_t * a, const char *b, zip_flags_t c), (a, b, c))                            \
  F(zip_int64_t, zip_fread, (zip_file_t * a, void *b, zip_uint64_t c), (a, b, c))                             \
  F(int, zip_fclose, (zip_file_t * a), (a))
#define VOIDS(F)                                                      \
  F(void, zip_discard, (zip_t * a), (a))                              \
  F(void, zip_error_fini, (zip_error_t * a), (a))                     \
  F(void, zip_error_init_with_code, (zip_error_t * a, int b), (a, b)) \
  F(void, zip_source_free, (zip_source_t * a), (a))

LOADER_TABLE(zip, FUNCTIONS, VOIDS, "libzip.so.5", "libzip.so.4", "libzip.5.dylib")
#define FUNCTION(type, name, parameters, arguments) LOADER_DEFINE(zip, type, name, parameters, arguments, 0)
#define VOID(type, name, parameters, arguments) LOADER_DEFINE(zip, type, name, parameters, arguments, )
FUNCTIONS(FUNCTION)
VOIDS(VOID)
