// curl_easy_setopt takes a variadic argument, which Swift cannot pass. One function per argument type here.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

typedef size_t (*curl_data_callback)(char *data, size_t size, size_t count, void *context);

static inline CURLcode curl_set_long(CURL *handle, CURLoption option, long value) {
  return curl_easy_setopt(handle, option, value);
}

// curl copies the string.
static inline CURLcode curl_set_string(CURL *handle, CURLoption option, const char *value) {
  return curl_easy_setopt(handle, option, value);
}

static inline CURLcode curl_set_pointer(CURL *handle, CURLoption option, void *value) {
  return curl_easy_setopt(handle, option, value);
}

static inline CURLcode curl_set_callback(CURL *handle, CURLoption option, curl_data_callback value) {
  return curl_easy_setopt(handle, option, value);
}
