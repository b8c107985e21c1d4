// The bridge between Swiftlet and MPI, compiled by Scripts/build-mpi against whichever MPI is installed and loaded at
// run time. MPI's types differ between implementations (an integer in MPICH, a pointer in Open MPI), so only plain C
// types cross this border. Every function returns 0, or an MPI error code.

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

// The version of this interface; Sources/CMPI/loader.c refuses any other.
EXPORT int swiftlet_mpi_interface(void) { return 2; }

static int count_of(int64_t count, int *result) {
  if (count < 0 || count > INT32_MAX) return MPI_ERR_COUNT;
  *result = (int)count;
  return MPI_SUCCESS;
}

static int64_t microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// Waits for operations that `error` says have begun. MPI's own waits keep a processor busy for as long as they take,
// which may be minutes while another rank tokenizes. This one soon sleeps between looks, and longer after a second in
// which none was finished.
static int finish(int error, MPI_Request *requests, int count) {
  if (error) return error;
  enum { part = 64 };
  int indices[part];
  MPI_Status statuses[part];
  int64_t begin = microseconds();
  for (int left = count; left > 0;) {
    int done = 0;
    for (int first = 0; first < count; first += part) {
      int finished = 0, most = count - first < part ? count - first : part;
      error = MPI_Testsome(most, requests + first, &finished, indices, statuses);
      // Of requests that were finished earlier, none is left.
      if (finished == MPI_UNDEFINED) finished = 0;
      for (int i = 0; error == MPI_ERR_IN_STATUS && i < finished; i++)
        if (statuses[i].MPI_ERROR) return statuses[i].MPI_ERROR;
      if (error) return error;
      done += finished;
    }
    left -= done;
    const int64_t now = microseconds();
    if (done) begin = now;
    if (now - begin < 2000) continue;
    const struct timespec pause = {0, now - begin < 1000000 ? 20000 : 1000000};
    nanosleep(&pause, NULL);
  }
  return MPI_SUCCESS;
}

// `host` receives the lowest rank on this host, which identifies it.
EXPORT int swiftlet_mpi_init(int *rank, int *size, int *host_rank, int *host_size, int *host) {
  int provided = 0;
  int error = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
  if (error) return error;
  if (provided < MPI_THREAD_SERIALIZED) return MPI_ERR_OTHER;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if ((error = MPI_Comm_rank(MPI_COMM_WORLD, rank))) return error;
  if ((error = MPI_Comm_size(MPI_COMM_WORLD, size))) return error;
  MPI_Comm local;
  if ((error = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, *rank, MPI_INFO_NULL, &local))) return error;
  if ((error = MPI_Comm_rank(local, host_rank))) return error;
  if ((error = MPI_Comm_size(local, host_size))) return error;
  *host = *rank;
  if ((error = MPI_Bcast(host, 1, MPI_INT, 0, local))) return error;
  return MPI_Comm_free(&local);
}

EXPORT int swiftlet_mpi_finalize(void) { return MPI_Finalize(); }

// Ends all processes of the run.
EXPORT void swiftlet_mpi_abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

EXPORT int swiftlet_mpi_barrier(void) {
  MPI_Request request;
  return finish(MPI_Ibarrier(MPI_COMM_WORLD, &request), &request, 1);
}

EXPORT int swiftlet_mpi_broadcast(void *bytes, int64_t count, int root) {
  MPI_Request request;
  int length, error = count_of(count, &length);
  return error ? error : finish(MPI_Ibcast(bytes, length, MPI_BYTE, root, MPI_COMM_WORLD, &request), &request, 1);
}

// Every process contributes `count` bytes; all receive those of all processes, in rank order.
EXPORT int swiftlet_mpi_all_gather(const void *bytes, int64_t count, void *all) {
  MPI_Request request;
  int length, error = count_of(count, &length);
  if (error) return error;
  return finish(MPI_Iallgather(bytes, length, MPI_BYTE, all, length, MPI_BYTE, MPI_COMM_WORLD, &request), &request, 1);
}

// Floats in a message. Open MPI over TCP sends up to 64 KB at once, but asks before it sends more, and if both sides
// send, the answer waits behind the data: two hosts that exchanged 2 MB by MPI_Alltoallv, or in messages of a megabyte,
// got half to two thirds of a link's rate. These get nine tenths.
enum { message_length = 15000 };

static int messages_in(int floats) { return (floats + message_length - 1) / message_length; }

// Messages under way.
typedef struct {
  MPI_Request *requests;
  int count;
} messages;

// Sends the floats `from`, or receives them at `into`; one of both is NULL.
static int begin(messages *all, const float *from, float *into, int count, int rank) {
  for (int at = 0; at < count; at += message_length) {
    int length = count - at < message_length ? count - at : message_length;
    MPI_Request *request = all->requests + all->count;
    int error = from ? MPI_Isend(from + at, length, MPI_FLOAT, rank, 0, MPI_COMM_WORLD, request)
                     : MPI_Irecv(into + at, length, MPI_FLOAT, rank, 0, MPI_COMM_WORLD, request);
    if (error) return error;
    all->count++;
  }
  return MPI_SUCCESS;
}

// Sends every other rank its floats, or if `sends_own` those of this rank, and receives those of every other rank.
static int exchange(
  const float *sent, const int *sent_counts, const int *sent_starts, bool sends_own, float *received,
  const int *received_counts, const int *received_starts) {
  int rank, size, error, count = 0;
  if ((error = MPI_Comm_rank(MPI_COMM_WORLD, &rank)) || (error = MPI_Comm_size(MPI_COMM_WORLD, &size))) return error;
  for (int r = 0; r < size; r++)
    count += messages_in(sent_counts[sends_own ? rank : r]) + messages_in(received_counts[r]);
  messages all = {malloc(((size_t)count + 1) * sizeof(MPI_Request)), 0};
  if (!all.requests) return MPI_ERR_NO_MEM;
  // Every rank begins with the next one, so that no two send to the same one first.
  for (int step = 1; step < size && !error; step++) {
    int from = (rank + size - step) % size, to = (rank + step) % size, part = sends_own ? rank : to;
    error = begin(&all, NULL, received + received_starts[from], received_counts[from], from);
    if (!error) error = begin(&all, sent + sent_starts[part], NULL, sent_counts[part], to);
  }
  error = finish(error, all.requests, all.count);
  free(all.requests);
  return error;
}

// Sends sent_counts[r] floats at sent_starts[r] to every other rank r, and receives received_counts[r] at
// received_starts[r].
EXPORT int swiftlet_mpi_exchange(
  const float *sent, const int *sent_counts, const int *sent_starts, float *received, const int *received_counts,
  const int *received_starts) {
  return exchange(sent, sent_counts, sent_starts, false, received, received_counts, received_starts);
}

// Collects counts[r] floats at starts[r] from each rank r into every process' buffer, in place.
EXPORT int swiftlet_mpi_collect(float *buffer, const int *counts, const int *starts) {
  return exchange(buffer, counts, starts, true, buffer, counts, starts);
}

// Sends `count` bytes to another rank, which must receive as many.
EXPORT int swiftlet_mpi_send(const void *bytes, int64_t count, int to) {
  MPI_Request request;
  int length, error = count_of(count, &length);
  return error ? error : finish(MPI_Isend(bytes, length, MPI_BYTE, to, 0, MPI_COMM_WORLD, &request), &request, 1);
}

EXPORT int swiftlet_mpi_receive(void *bytes, int64_t count, int from) {
  MPI_Request request;
  int length, error = count_of(count, &length);
  return error ? error : finish(MPI_Irecv(bytes, length, MPI_BYTE, from, 0, MPI_COMM_WORLD, &request), &request, 1);
}

// Writes what an error code means, as a null-terminated string of at most `capacity` bytes.
EXPORT void swiftlet_mpi_describe(int code, char *text, int capacity) {
  char full[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, full, &length) != MPI_SUCCESS) snprintf(full, sizeof full, "MPI error %d", code);
  snprintf(text, (size_t)capacity, "%s", full);
}
