// A compute device behind Vulkan 1.3: memory by address, kernels, one queue. The loader is opened at run time, so a
// program that links this needs nothing, and costs nothing, where there is no GPU.
//
// Commands run one after the other, in the order of the calls. The first error is kept: whatever follows does nothing,
// and cd_check tells. Any thread may call; one at a time gets in.
#ifndef CDEVICE_H
#define CDEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cd_device cd_device;

typedef enum {
  cd_ok,
  cd_out_of_memory,  // no room for a buffer
  cd_lost,           // the driver reset the device, or it is gone
  cd_failed,         // the driver refused something
} cd_status;

typedef struct {
  char name[256];
  char driver[256];      // the driver and its version
  uint64_t memory;       // bytes of the largest heap on the device
  bool is_software;      // computes on the processor (lavapipe)
  bool is_integrated;    // shares the processor's memory
  uint32_t matrix_size;  // 8 or 16: its matrix units multiply float16 matrices of this size, summing in float32; or 0
  char missing[64];      // the feature that the kernels need and the device lacks; empty where it has them all
} cd_info;

// Writes up to `most` devices in the driver's order; the count of all, 0 where there is no Vulkan loader or driver.
int cd_list(cd_info *infos, int most);

// Opens the device of this number in cd_list. Compiled kernels are kept in `cache_folder`, which may be NULL. NULL
// where that fails, with the reason in `message`.
cd_device *cd_open(int index, const char *cache_folder, char *message, size_t message_size);
void cd_close(cd_device *device);

// The first error since the device was opened, and what the driver said.
cd_status cd_check(cd_device *device, char *message, size_t message_size);
// Behaves from now on as after this error, for tests.
void cd_simulate_failure(cd_device *device, cd_status status);

// An operation: between the two, no other thread gets in, and memory that is given back, by whichever thread, is not
// taken again. So an address stays valid from when it is asked for until the kernel that gets it is recorded.
// Operations may contain others. Kernels are called within one.
void cd_begin(cd_device *device);
void cd_end(cd_device *device);

// ---- memory.c -------------------------------------------------------------------------------------------------------

typedef enum {
  cd_device_memory,
  cd_host_memory,  // the processor's memory, which the device reads and writes over the bus
} cd_place;

typedef struct {
  uint64_t address;  // as kernels see it; 0 where there was no room
  uint64_t offset, size;
  uint32_t block, asked_class, class;
  cd_place place;
} cd_memory;

// Bytes at a multiple of 256. Content undefined.
cd_memory cd_allocate(cd_device *device, uint64_t size, cd_place place);
// What was recorded before may still use the memory: commands that are recorded later run later.
void cd_deallocate(cd_device *device, cd_memory memory);
// Lets no more of the device's memory be taken than this, for tests.
void cd_limit(cd_device *device, uint64_t bytes);

typedef struct {
  uint64_t in_use, peak;  // what was taken of the device's memory
  uint64_t reserved;      // what was allocated for that from the driver
  uint64_t available;     // what may be allocated yet, by the driver's word where it gives one
} cd_memory_statistics;
cd_memory_statistics cd_memory_use(cd_device *device);

// ---- commands.c -----------------------------------------------------------------------------------------------------

// Copies bytes of the host, which may change as soon as this returns.
void cd_upload(cd_device *device, cd_memory to, uint64_t offset, const void *bytes, uint64_t size);
void cd_copy(cd_device *device, cd_memory from, uint64_t from_offset, cd_memory to, uint64_t to_offset, uint64_t size);
// Fills with zeros; offset and size are multiples of 4.
void cd_clear(cd_device *device, cd_memory memory, uint64_t offset, uint64_t size);

typedef struct {
  cd_memory from;
  uint64_t offset, size;
  void *to;
} cd_read_part;
// Reads all parts with one wait for everything that was asked before. Zeros after an error.
void cd_read(cd_device *device, const cd_read_part *parts, int count);

// Waits for everything that was asked.
void cd_finish(cd_device *device);

// The number of a kernel (shaders/) with specialization constants 0, 1, ...; compiled when first asked for, -1 on
// error.
int cd_kernel(cd_device *device, const char *name, const uint32_t *constants, int count);

// A call of a kernel: x by y by z groups with up to 128 bytes of arguments. With a list, the first eight bytes of the
// arguments become the address of a copy of it. `needs_barrier` is false where the dispatch just before wrote and read
// nothing that this one touches, so that both may run at once.
typedef struct {
  const void *arguments, *list;
  size_t size, list_size;
  uint32_t x, y, z;
  bool needs_barrier;
} cd_call;
void cd_dispatch(cd_device *device, int kernel, const cd_call *call);

typedef struct {
  uint64_t dispatches, submissions;
  uint64_t waits;  // times the host waited until the device had nothing left to do
} cd_counters;
cd_counters cd_count(cd_device *device);

// Time by kernel since cd_profile(true), the longest first; profiling costs some time itself.
typedef struct {
  char name[64];
  uint64_t count;
  double seconds;
} cd_kernel_time;
void cd_profile(cd_device *device, bool on);
int cd_kernel_times(cd_device *device, cd_kernel_time *times, int most);

// The hash of the sources that the committed kernels were compiled from (Scripts/shaders): FNV-1a, in hexadecimal.
const char *cd_source_hash(void);

#endif
