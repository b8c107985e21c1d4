// Allocates device memory and reuses it, so that steps after the first allocate nothing from the driver. Buffers have
// eight sizes per power of two, and are parts of larger blocks, because drivers allow few allocations.
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { alignment = 256 };

static uint32_t exponent(uint64_t size) { return 63 - (uint32_t)__builtin_clzll(size); }

// The size class of a buffer of at least `size` bytes: eight times the exponent of its size, plus the number of eighths
// of that power of two.
static uint32_t class_of(uint64_t size) {
  uint64_t least = size < alignment ? alignment : size;
  uint64_t step = (1ull << exponent(least)) / 8;
  if (step < alignment) step = alignment;
  uint64_t rounded = (least + step - 1) / step * step;
  return 8 * exponent(rounded) + (uint32_t)(rounded >> (exponent(rounded) - 3) & 7);
}

static uint64_t class_size(uint32_t class) { return (8 + (uint64_t)(class & 7)) << (class / 8 - 3); }

static int memory_type(cd_device *d, uint32_t allowed, VkMemoryPropertyFlags wanted, VkMemoryPropertyFlags avoided) {
  for (uint32_t i = 0; i < d->memory.memoryTypeCount; i++) {
    VkMemoryPropertyFlags flags = d->memory.memoryTypes[i].propertyFlags;
    if (allowed >> i & 1 && (flags & wanted) == wanted && !(flags & avoided)) return (int)i;
  }
  return -1;
}

static VkBuffer make_buffer(cd_device *d, uint64_t size, VkMemoryRequirements *needed) {
  VkBufferCreateInfo info = {
    .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
    .size = size,
    .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT
      | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
  VkBuffer buffer = VK_NULL_HANDLE;
  VkResult result = vkCreateBuffer(d->device, &info, NULL, &buffer);
  if (!cd_works(d, "a buffer could not be created", result)) return VK_NULL_HANDLE;
  vkGetBufferMemoryRequirements(d->device, buffer, needed);
  return buffer;
}

// Allocates memory of a type and binds it to a buffer. Doesn't record an error.
static VkResult bind_memory(
  cd_device *d, VkBuffer buffer, uint64_t size, int type, VkDeviceMemory *memory, uint64_t *address) {
  VkMemoryAllocateFlagsInfo flags = {
    .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
  VkMemoryAllocateInfo info = {
    .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
    .pNext = &flags,
    .allocationSize = size,
    .memoryTypeIndex = (uint32_t)type};
  VkResult result = vkAllocateMemory(d->device, &info, NULL, memory);
  if (result != VK_SUCCESS) return result;
  result = vkBindBufferMemory(d->device, buffer, *memory, 0);
  if (result != VK_SUCCESS) {
    vkFreeMemory(d->device, *memory, NULL);
    return result;
  }
  VkBufferDeviceAddressInfo address_info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = buffer};
  *address = vkGetBufferDeviceAddress(d->device, &address_info);
  return VK_SUCCESS;
}

static void free_block(cd_device *d, cd_block *block) {
  vkDestroyBuffer(d->device, block->buffer, NULL);
  vkFreeMemory(d->device, block->memory, NULL);
  if (block->place == cd_device_memory) d->reserved -= block->size;
  memset(block, 0, sizeof *block);
}

// Returns unused blocks with a single buffer to the driver.
static void trim(cd_device *d) {
  cd_drain(d);
  for (int place = 0; place < 2; place++)
    for (int class = 0; class < cd_classes; class ++) {
      cd_free_list *list = &d->free_lists[place][class];
      uint32_t kept = 0;
      for (uint32_t i = 0; i < list->count; i++) {
        cd_block *block = &d->blocks[list->items[i].block];
        if (block->is_whole) free_block(d, block);
        else list->items[kept++] = list->items[i];
      }
      list->count = kept;
    }
}

// Allocates a new block of `size` bytes. Returns its number, or -1 if that fails.
static int64_t make_block(cd_device *d, uint64_t size, bool is_whole, cd_place place) {
  uint32_t number = 0;
  while (number < d->block_count && d->blocks[number].buffer) number++;
  if (number == d->block_count) {
    if (d->block_count == d->block_capacity) {
      uint32_t capacity = d->block_capacity ? 2 * d->block_capacity : 64;
      cd_block *more = realloc(d->blocks, capacity * sizeof *more);
      if (!more) return -1;
      d->blocks = more;
      d->block_capacity = capacity;
    }
    d->block_count++;
  }
  cd_block *block = &d->blocks[number];
  memset(block, 0, sizeof *block);
  // Some drivers silently continue in host memory when a heap is full, which is slow.
  if (place == cd_device_memory && d->reserved + size > d->info.memory) trim(d);
  if (place == cd_device_memory && d->reserved + size > d->info.memory) return -1;
  VkMemoryRequirements needed;
  VkBuffer buffer = make_buffer(d, size, &needed);
  if (!buffer) return -1;
  int type = place == cd_device_memory
    ? memory_type(d, needed.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0)
    : memory_type(d, needed.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  if (type < 0) type = memory_type(d, needed.memoryTypeBits, 0, 0);
  VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  for (int attempt = 0; attempt < 2 && result != VK_SUCCESS; attempt++) {
    if (attempt) trim(d);
    result = bind_memory(d, buffer, needed.size, type, &block->memory, &block->address);
  }
  if (result != VK_SUCCESS) {
    vkDestroyBuffer(d->device, buffer, NULL);
    return -1;
  }
  block->buffer = buffer;
  block->size = size;
  block->is_whole = is_whole;
  block->place = place;
  if (place == cd_device_memory) d->reserved += size;
  return number;
}

static bool pop(cd_device *d, cd_memory *memory, uint32_t class) {
  cd_free_list *list = &d->free_lists[memory->place][class];
  if (!list->count) return false;
  cd_free_buffer found = list->items[--list->count];
  memory->block = found.block;
  memory->offset = found.offset;
  memory->class = class;
  return true;
}

// Takes a buffer from the end of a block with free space, or from a new block.
static bool carve(cd_device *d, cd_memory *memory, uint64_t size) {
  bool is_whole = size > d->block_size / 4;
  int64_t number = -1;
  if (!is_whole)
    for (uint32_t i = 0; i < d->block_count && number < 0; i++) {
      cd_block *block = &d->blocks[i];
      if (block->buffer && !block->is_whole && block->place == memory->place && block->used + size <= block->size)
        number = i;
    }
  // Free unused large buffers before the reserved memory grows far beyond the peak of what was ever in use.
  if (number < 0 && is_whole && d->reserved + size > d->peak + d->peak / 16 + d->block_size) trim(d);
  if (number < 0) number = make_block(d, is_whole ? size : d->block_size, is_whole, memory->place);
  if (number < 0 && !is_whole) {  // there may be enough memory for this buffer alone
    is_whole = true;
    number = make_block(d, size, true, memory->place);
  }
  if (number < 0) return false;
  memory->block = (uint32_t)number;
  memory->offset = d->blocks[number].used;
  d->blocks[number].used += size;
  return true;
}

cd_memory cd_allocate(cd_device *d, uint64_t size, cd_place place) {
  pthread_mutex_lock(&d->lock);
  uint32_t requested = class_of(size);
  cd_memory memory = {.size = size, .requested_class = requested, .class = requested, .place = place};
  if (d->status == cd_ok) {
    uint64_t least = class_size(requested), most = least < 1 << 17 ? least : least + least / 4;
    bool found = false, fits = !d->limit || place == cd_host_memory || d->in_use + least <= d->limit;
    for (uint32_t class = requested; fits && !found && class < cd_classes && class_size(class) <= most; class ++)
      found = pop(d, &memory, class);
    if (found || (fits && carve(d, &memory, least))) {
      memory.address = d->blocks[memory.block].address + memory.offset;
      if (place == cd_device_memory) d->in_use += least;
      if (d->in_use > d->peak) d->peak = d->in_use;
    } else {
      cd_fail(d, cd_out_of_memory, "the device has no memory left", VK_ERROR_OUT_OF_DEVICE_MEMORY);
    }
  }
  pthread_mutex_unlock(&d->lock);
  return memory;
}

// Makes room for one more item. On failure, the caller leaks the item until the device is closed.
static bool grow(void **items, uint32_t count, uint32_t *capacity, size_t size) {
  if (count < *capacity) return true;
  uint32_t more = *capacity ? 2 * *capacity : 16;
  void *moved = realloc(*items, more * size);
  if (!moved) return false;
  *items = moved;
  *capacity = more;
  return true;
}

static void push(cd_device *d, cd_memory memory) {
  cd_free_list *list = &d->free_lists[memory.place][memory.class];
  if (grow((void **)&list->items, list->count, &list->capacity, sizeof *list->items))
    list->items[list->count++] = (cd_free_buffer){memory.block, memory.offset};
  if (memory.place == cd_device_memory) d->in_use -= class_size(memory.requested_class);
}

void cd_free_deferred(cd_device *d) {
  for (uint32_t i = 0; i < d->deferred_count; i++) push(d, d->deferred[i]);
  d->deferred_count = 0;
}

void cd_deallocate(cd_device *d, cd_memory memory) {
  if (!memory.address) return;
  pthread_mutex_lock(&d->lock);
  if (d->depth == 0) push(d, memory);
  else if (grow((void **)&d->deferred, d->deferred_count, &d->deferred_capacity, sizeof *d->deferred))
    d->deferred[d->deferred_count++] = memory;
  pthread_mutex_unlock(&d->lock);
}

void cd_limit(cd_device *d, uint64_t bytes) {
  pthread_mutex_lock(&d->lock);
  d->limit = bytes;
  pthread_mutex_unlock(&d->lock);
}

cd_memory_statistics cd_memory_use(cd_device *d) {
  pthread_mutex_lock(&d->lock);
  cd_memory_statistics found = {.in_use = d->in_use, .peak = d->peak, .reserved = d->reserved};
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 memory = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = d->has_budget ? &budget : NULL};
  vkGetPhysicalDeviceMemoryProperties2(d->physical, &memory);
  for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++) {
    VkMemoryHeap heap = memory.memoryProperties.memoryHeaps[i];
    if (!(heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)) continue;
    uint64_t most = d->has_budget ? budget.heapBudget[i] : heap.size - heap.size / 16;
    uint64_t used = d->has_budget ? budget.heapUsage[i] : d->reserved;
    uint64_t left = d->limit > d->in_use ? d->limit - d->in_use : 0;
    if (d->limit && most > used + left) most = used + left;
    if (most > used && most - used > found.available) found.available = most - used;
  }
  pthread_mutex_unlock(&d->lock);
  return found;
}

bool cd_map(cd_device *d, uint64_t size, bool is_read, cd_mapped *mapped) {
  VkMemoryRequirements needed;
  mapped->buffer = make_buffer(d, size, &needed);
  if (!mapped->buffer) return false;
  VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  // Memory that the host reads should be cached; memory that kernels read should be on the device.
  VkMemoryPropertyFlags better = is_read ? VK_MEMORY_PROPERTY_HOST_CACHED_BIT : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  int types[] = {
    memory_type(d, needed.memoryTypeBits, wanted | better, 0), memory_type(d, needed.memoryTypeBits, wanted, 0)};
  VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  for (int i = 0; i < 2 && result != VK_SUCCESS; i++)
    if (types[i] >= 0)
      result = bind_memory(d, mapped->buffer, needed.size, types[i], &mapped->memory, &mapped->address);
  if (!cd_works(d, "the device has no memory for transfers", result)) return false;
  mapped->size = size;
  void *host = NULL;
  bool works =
    cd_works(d, "memory could not be mapped", vkMapMemory(d->device, mapped->memory, 0, VK_WHOLE_SIZE, 0, &host));
  mapped->host = host;
  return works;
}

void cd_unmap(cd_device *d, cd_mapped *mapped) {
  if (mapped->buffer) vkDestroyBuffer(d->device, mapped->buffer, NULL);
  if (mapped->memory) vkFreeMemory(d->device, mapped->memory, NULL);
}

void cd_free_memory(cd_device *d) {
  for (uint32_t i = 0; i < d->block_count; i++)
    if (d->blocks[i].buffer) free_block(d, &d->blocks[i]);
  for (int place = 0; place < 2; place++)
    for (int class = 0; class < cd_classes; class ++) free(d->free_lists[place][class].items);
  free(d->blocks);
  free(d->deferred);
}
