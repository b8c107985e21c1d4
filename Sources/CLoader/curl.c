// The header's macros check the types of variadic calls; here the functions themselves are defined.
#define CURL_DISABLE_TYPECHECK
#define curl_easy_setopt header_curl_easy_setopt
#include <curl/curl.h>
#undef curl_easy_setopt
#include <stdarg.h>

#include "loader.h"

#define FUNCTIONS(F)                                                                                                 \
  F(CURLcode, curl_global_init, (long a), (a))                                                                       \
  F(CURL *, curl_easy_init, (void), ())                                                                              \
  F(const char *, curl_easy_strerror, (CURLcode a), (a))                                                             \
  F(CURLM *, curl_multi_init, (void), ())                                                                            \
  F(CURLMcode, curl_multi_add_handle, (CURLM * a, CURL * b), (a, b))                                                 \
  F(CURLMcode, curl_multi_remove_handle, (CURLM * a, CURL * b), (a, b))                                              \
  F(CURLMcode, curl_multi_perform, (CURLM * a, int *b), (a, b))                                                      \
  F(CURLMcode, curl_multi_poll, (CURLM * a, struct curl_waitfd b[], unsigned int c, int d, int *e), (a, b, c, d, e)) \
  F(CURLMcode, curl_multi_wakeup, (CURLM * a), (a))                                                                  \
  F(CURLMsg *, curl_multi_info_read, (CURLM * a, int *b), (a, b))                                                    \
  F(struct curl_slist *, curl_slist_append, (struct curl_slist * a, const char *b), (a, b))
#define VOIDS(F)                              \
  F(void, curl_easy_cleanup, (CURL * a), (a)) \
  F(void, curl_slist_free_all, (struct curl_slist * a), (a))
#define ALL_VOIDS(F) VOIDS(F) F(CURLcode, curl_easy_setopt, , )

LOADER_TABLE(curl, FUNCTIONS, ALL_VOIDS, "libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib")
#define FUNCTION(type, name, parameters, arguments) LOADER_DEFINE(curl, type, name, parameters, arguments, 0)
#define VOID(type, name, parameters, arguments) LOADER_DEFINE(curl, type, name, parameters, arguments, )
FUNCTIONS(FUNCTION)
VOIDS(VOID)

// Every option takes one argument of a pointer's size: a long, a pointer, or on 64-bit systems a curl_off_t.
__attribute__((visibility("hidden"))) CURLcode curl_easy_setopt(CURL *handle, CURLoption option, ...) {
  if (loader_failure(loader_curl)) return CURLE_FAILED_INIT;
  va_list list;
  va_start(list, option);
  void *value = va_arg(list, void *);
  va_end(list);
  CURLcode (*function)(CURL *, CURLoption, ...) = loader_curl_table.functions[index_curl_easy_setopt];
  return function(handle, option, value);
}
