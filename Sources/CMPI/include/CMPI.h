#ifndef SWIFTLET_CMPI_H
#define SWIFTLET_CMPI_H

#include <stdint.h>

// The functions of MPI/swiftlet_mpi.c, found at run time. All return 0 or an MPI error code.
typedef struct {
  int (*initialize)(int *rank, int *size, int *host_rank, int *host_size, int *host);
  int (*finalize)(void);
  void (*abort)(int status);
  int (*barrier)(void);
  int (*broadcast)(void *bytes, int64_t count, int root);
  int (*all_gather)(const void *bytes, int64_t count, void *all);
  int (*exchange)(
    const float *sent, const int *sent_counts, const int *sent_starts, float *received, const int *received_counts,
    const int *received_starts);
  int (*collect)(float *buffer, const int *counts, const int *starts);
  int (*send)(const void *bytes, int64_t count, int to);
  int (*receive)(void *bytes, int64_t count, int from);
  void (*describe)(int code, char *text, int capacity);
} mpi_functions;

// Loads the bridge at `path`. Returns 0; 1 if the file or the MPI library under it cannot be loaded; 2 if the file is
// not a bridge of this version. `reason` receives the loader's message.
int mpi_load(const char *path, mpi_functions *functions, char *reason, int capacity);

#endif
