// A compute device with a Vulkan 1.3 driver: memory with device addresses, kernels and one queue. The Vulkan loader is
// opened at run time, so programs that link this also run on machines without a GPU or a loader.
//
// Commands execute in the order of the calls. The first error is sticky: later calls do nothing, and cd_check reports
// it. All functions may be called from any thread; a lock lets one thread in at a time.
#ifndef CDEVICE_H
#define CDEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cd_device cd_device;

typedef enum {
  cd_ok,
  cd_out_of_memory,  // a buffer could not be allocated
  cd_lost,           // the driver reset the device, or it was removed
  cd_failed,         // any other error
} cd_status;

typedef struct {
  char name[256];
  char driver[256];      // the driver and its version
  uint64_t memory;       // bytes of the largest heap on the device
  bool is_software;      // computes on the processor (lavapipe)
  bool is_integrated;    // shares the processor's memory
  uint32_t matrix_size;  // 8 or 16: its matrix units multiply float16 matrices of this size, summing in float32; or 0
  char missing[64];      // the feature that the kernels need and the device lacks; empty for a usable device
} cd_info;

// Writes up to `most` devices in the driver's order. Returns the number of devices, 0 if there is no Vulkan loader or
// driver.
int cd_list(cd_info *infos, int most);

// Opens the device with this index in cd_list. Compiled kernels are cached in `cache_folder`, which may be NULL.
// Returns NULL on failure, with the reason in `message`.
cd_device *cd_open(int index, const char *cache_folder, char *message, size_t message_size);
void cd_close(cd_device *device);

// The first error since the device was opened, with its reason in `message`.
cd_status cd_check(cd_device *device, char *message, size_t message_size);
// Behaves from now on as if this error had occurred. For tests.
void cd_simulate_failure(cd_device *device, cd_status status);

// Begin and end an operation. During an operation, no other thread can use the device, and memory that any thread
// deallocates is not reused. So an address stays valid until the kernel that uses it is recorded. Operations can be
// nested. Kernels must be dispatched within one.
void cd_begin(cd_device *device);
void cd_end(cd_device *device);

// ---- memory.c -------------------------------------------------------------------------------------------------------

typedef enum {
  cd_device_memory,
  cd_host_memory,  // the processor's memory, which the device reads and writes over the bus
} cd_place;

typedef struct {
  uint64_t address;  // for kernels; 0 if the allocation failed
  uint64_t offset, size;
  uint32_t block, requested_class, class;
  cd_place place;
} cd_memory;

// Allocates uninitialized memory, aligned to 256 bytes.
cd_memory cd_allocate(cd_device *device, uint64_t size, cd_place place);
// Commands that are already recorded may still use the memory: commands that reuse it run later.
void cd_deallocate(cd_device *device, cd_memory memory);
// Limits the device memory that can be allocated. For tests.
void cd_limit(cd_device *device, uint64_t bytes);

typedef struct {
  uint64_t in_use, peak;  // device memory in use, in bytes
  uint64_t reserved;      // allocated from the driver for it
  uint64_t available;     // what can still be allocated: the driver's budget, or an estimate
} cd_memory_statistics;
cd_memory_statistics cd_memory_use(cd_device *device);

// ---- commands.c -----------------------------------------------------------------------------------------------------

// Copies bytes from the host, which may change them as soon as this returns.
void cd_upload(cd_device *device, cd_memory to, uint64_t offset, const void *bytes, uint64_t size);
void cd_copy(cd_device *device, cd_memory from, uint64_t from_offset, cd_memory to, uint64_t to_offset, uint64_t size);
// Fills with zeros; offset and size are multiples of 4.
void cd_clear(cd_device *device, cd_memory memory, uint64_t offset, uint64_t size);

typedef struct {
  cd_memory from;
  uint64_t offset, size;
  void *to;
} cd_read_part;
// Waits for all earlier commands, then reads all parts. After an error, the bytes are zero.
void cd_read(cd_device *device, const cd_read_part *parts, int count);

// Waits for all commands.
void cd_finish(cd_device *device);

// The number of a kernel in shaders/ with specialization constants 0, 1, ...; -1 on error. The first call compiles it.
int cd_kernel(cd_device *device, const char *name, const uint32_t *constants, int count);

// A kernel call with x * y * z groups and up to 128 bytes of arguments. If there is a list, it is copied to the device,
// and the address of the copy replaces the first eight bytes of the arguments. `needs_barrier` may be false if the
// kernel doesn't depend on the previous dispatch, so that both can run at the same time.
typedef struct {
  const void *arguments, *list;
  size_t size, list_size;
  uint32_t x, y, z;
  bool needs_barrier;
} cd_call;
void cd_dispatch(cd_device *device, int kernel, const cd_call *call);

typedef struct {
  uint64_t dispatches, submissions;
  uint64_t waits;  // how often the host waited until the device was idle
} cd_counters;
cd_counters cd_count(cd_device *device);

// The time of each kernel since cd_profile(true), sorted by time, the longest first. Profiling itself takes some time.
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
