#include <dlfcn.h>
#include <stdio.h>

#include "CMPI.h"

#define INTERFACE_VERSION 2

#define FIND(member, name)                                       \
  do {                                                           \
    *(void **)&functions->member = dlsym(library, name);         \
    if (!functions->member) {                                    \
      snprintf(reason, (size_t)capacity, "%s is missing", name); \
      return 2;                                                  \
    }                                                            \
  } while (0)

int mpi_load(const char *path, mpi_functions *functions, char *reason, int capacity) {
  // Open MPI opens plugins that expect its symbols to be visible to everyone.
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    const char *message = dlerror();
    snprintf(reason, (size_t)capacity, "%s", message ? message : "unknown error");
    return 1;
  }
  int (*interface_version)(void) = NULL;
  *(void **)&interface_version = dlsym(library, "swiftlet_mpi_interface");
  if (!interface_version || interface_version() != INTERFACE_VERSION) {
    snprintf(reason, (size_t)capacity, "it was built for another version of swiftlet");
    return 2;
  }
  FIND(initialize, "swiftlet_mpi_init");
  FIND(finalize, "swiftlet_mpi_finalize");
  FIND(abort, "swiftlet_mpi_abort");
  FIND(barrier, "swiftlet_mpi_barrier");
  FIND(broadcast, "swiftlet_mpi_broadcast");
  FIND(all_gather, "swiftlet_mpi_all_gather");
  FIND(exchange, "swiftlet_mpi_exchange");
  FIND(collect, "swiftlet_mpi_collect");
  FIND(send, "swiftlet_mpi_send");
  FIND(receive, "swiftlet_mpi_receive");
  FIND(describe, "swiftlet_mpi_describe");
  return 0;
}
