#ifndef INTERNAL_H
#define INTERNAL_H

#include "include/CDevice.h"
#include "vulkan.h"

#include <pthread.h>

// The Vulkan functions that are used, looked up through the instance.
// clang-format off
#define CD_FUNCTIONS(DO) \
  DO(vkEnumeratePhysicalDevices) DO(vkGetPhysicalDeviceProperties2) DO(vkGetPhysicalDeviceFeatures2) \
  DO(vkGetPhysicalDeviceQueueFamilyProperties) DO(vkGetPhysicalDeviceMemoryProperties2) \
  DO(vkEnumerateDeviceExtensionProperties) DO(vkCreateDevice) DO(vkDestroyDevice) DO(vkGetDeviceQueue) \
  DO(vkDeviceWaitIdle) DO(vkCreateBuffer) DO(vkDestroyBuffer) DO(vkGetBufferMemoryRequirements) \
  DO(vkAllocateMemory) DO(vkFreeMemory) DO(vkBindBufferMemory) DO(vkMapMemory) DO(vkGetBufferDeviceAddress) \
  DO(vkCreateShaderModule) DO(vkDestroyShaderModule) DO(vkCreatePipelineLayout) DO(vkDestroyPipelineLayout) \
  DO(vkCreatePipelineCache) DO(vkDestroyPipelineCache) DO(vkGetPipelineCacheData) \
  DO(vkCreateComputePipelines) DO(vkDestroyPipeline) DO(vkCreateCommandPool) DO(vkDestroyCommandPool) \
  DO(vkAllocateCommandBuffers) DO(vkBeginCommandBuffer) DO(vkEndCommandBuffer) DO(vkCmdBindPipeline) \
  DO(vkCmdPushConstants) DO(vkCmdDispatch) DO(vkCmdPipelineBarrier) DO(vkCmdCopyBuffer) DO(vkCmdFillBuffer) \
  DO(vkCreateQueryPool) DO(vkDestroyQueryPool) DO(vkCmdResetQueryPool) DO(vkCmdWriteTimestamp) \
  DO(vkGetQueryPoolResults) DO(vkQueueSubmit) DO(vkCreateSemaphore) DO(vkDestroySemaphore) \
  DO(vkWaitSemaphores) DO(vkGetSemaphoreCounterValue)
// clang-format on
#define CD_DECLARE(name) extern PFN_##name name;
CD_FUNCTIONS(CD_DECLARE)

enum {
  cd_classes = 8 * 48,     // eight sizes per power of two
  cd_slots = 8,            // command buffers in flight
  cd_slot_commands = 128,  // a command buffer with this many is submitted
  cd_push_bytes = 128,     // the minimum that Vulkan guarantees
  cd_most_constants = 8,
  cd_kernel_table = 1024,
};

typedef struct {
  VkBuffer buffer;
  VkDeviceMemory memory;
  uint64_t address, size, used;
  bool is_whole;  // contains a single buffer
  cd_place place;
} cd_block;

typedef struct {
  uint32_t block;
  uint64_t offset;
} cd_free_buffer;
typedef struct {
  cd_free_buffer *items;
  uint32_t count, capacity;
} cd_free_list;

typedef struct {
  VkBuffer buffer;
  VkDeviceMemory memory;
  uint64_t address, size;
  uint8_t *host;
} cd_mapped;

typedef struct {
  VkCommandBuffer commands;
  VkQueryPool queries;
  uint64_t value;      // of the timeline semaphore when it is done
  uint64_t ring_head;  // the end of the ring's bytes that it uses
  uint32_t count;
  int kernels[cd_slot_commands];  // the kernel of each timestamp pair
  uint32_t timed;
} cd_slot;

typedef struct {
  uint64_t hash;
  const char *name;
  uint32_t constants[cd_most_constants];
  int constant_count;
  VkPipeline pipeline;
  uint64_t dispatches;
  double seconds;
} cd_pipeline;

struct cd_device {
  pthread_mutex_t lock;  // recursive
  uint32_t depth;        // the nesting depth of open operations
  cd_info info;
  cd_status status;
  char message[256];

  VkPhysicalDevice physical;
  VkDevice device;
  VkQueue queue;
  uint32_t family, timestamp_bits;
  double timestamp_seconds;
  bool has_budget;
  VkPhysicalDeviceMemoryProperties memory;

  cd_block *blocks;
  uint32_t block_count, block_capacity;
  cd_free_list free_lists[2][cd_classes];
  uint64_t block_size, in_use, peak, reserved;
  uint64_t limit;       // the limit of in_use, for tests; 0 for none
  cd_memory *deferred;  // deallocated during an operation; freed at its end
  uint32_t deferred_count, deferred_capacity;
  cd_mapped ring, readback;
  uint64_t ring_head, ring_tail;

  VkCommandPool pool;
  VkSemaphore timeline;
  uint64_t next_value, done_value;
  cd_slot slots[cd_slots];
  uint32_t slot;  // the one being recorded, or the next to record
  bool is_recording, is_profiling;
  bool needs_barrier;  // before the next dispatch, because a copy or another operation came before it
  cd_counters counters;

  char cache_path[1024];
  VkPipelineCache cache;
  bool cache_changed;
  VkPipelineLayout layout;
  VkShaderModule *modules;
  cd_pipeline *pipelines;
  int pipeline_count;
  int table[cd_kernel_table];  // the hash table: pipeline number + 1
};

// Records an error, unless there was one before.
void cd_fail(cd_device *device, cd_status status, const char *what, VkResult result);
// Whether a call succeeded; otherwise records the error.
bool cd_works(cd_device *device, const char *what, VkResult result);

// The caller must hold the lock.
void cd_submit(cd_device *device);
void cd_drain(cd_device *device);
bool cd_map(cd_device *device, uint64_t size, bool is_read, cd_mapped *mapped);
void cd_unmap(cd_device *device, cd_mapped *mapped);
void cd_free_memory(cd_device *device);
void cd_free_deferred(cd_device *device);
bool cd_start_commands(cd_device *device);
void cd_end_commands(cd_device *device);
bool cd_start_kernels(cd_device *device, const char *cache_folder);
void cd_save_kernels(cd_device *device);
void cd_end_kernels(cd_device *device);

#endif
