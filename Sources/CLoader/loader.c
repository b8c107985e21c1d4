#include "loader.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static pthread_once_t once[4] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};

static void load(loader_table *table) {
  static const char *const folders[] = {"", "/opt/homebrew/lib/", "/usr/local/lib/", 0};
  void *handle = 0;
  for (int f = 0; !handle && folders[f]; f++)
    for (int i = 0; !handle && table->files[i]; i++) {
      char path[256];
      snprintf(path, sizeof path, "%s%s", folders[f], table->files[i]);
      handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
  if (!handle) {
    table->failure = "it is not installed";
    return;
  }
  for (int i = 0; i < table->count; i++) {
    table->functions[i] = dlsym(handle, table->names[i]);
    if (!table->functions[i]) table->failure = "it is too old";
  }
}

static void load_cairo(void) { load(&loader_cairo_table); }
static void load_zip(void) { load(&loader_zip_table); }
static void load_curl(void) { load(&loader_curl_table); }
static void load_crypto(void) { load(&loader_crypto_table); }

const char *loader_failure(loader_library library) {
  switch (library) {
    case loader_cairo: pthread_once(&once[0], load_cairo); return loader_cairo_table.failure;
    case loader_zip: pthread_once(&once[1], load_zip); return loader_zip_table.failure;
    case loader_curl: pthread_once(&once[2], load_curl); return loader_curl_table.failure;
    case loader_crypto: pthread_once(&once[3], load_crypto); return loader_crypto_table.failure;
  }
  return "it is unknown";
}
