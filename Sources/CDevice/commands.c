// The queue. Commands are recorded into a few command buffers in turn, and a timeline semaphore shows how far the
// device has come. Barriers between commands make the results of earlier commands visible to later ones.
#include "internal.h"

#include <string.h>

enum { ring_bytes = 32 << 20, readback_bytes = 8 << 20 };

bool cd_start_commands(cd_device *d) {
  VkCommandPoolCreateInfo pool = {
    .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
    .queueFamilyIndex = d->family};
  VkSemaphoreTypeCreateInfo type = {
    .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
  VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
  if (!cd_works(d, "creating a command pool failed", vkCreateCommandPool(d->device, &pool, NULL, &d->pool)))
    return false;
  if (!cd_works(d, "creating a semaphore failed", vkCreateSemaphore(d->device, &semaphore, NULL, &d->timeline)))
    return false;
  VkCommandBufferAllocateInfo info = {
    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
    .commandPool = d->pool,
    .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
    .commandBufferCount = 1};
  for (int i = 0; i < cd_slots; i++)
    if (!cd_works(
          d, "allocating a command buffer failed", vkAllocateCommandBuffers(d->device, &info, &d->slots[i].commands)))
      return false;
  return cd_map(d, ring_bytes, false, &d->ring) && cd_map(d, readback_bytes, true, &d->readback);
}

void cd_end_commands(cd_device *d) {
  cd_unmap(d, &d->ring);
  cd_unmap(d, &d->readback);
  for (int i = 0; i < cd_slots; i++)
    if (d->slots[i].queries) vkDestroyQueryPool(d->device, d->slots[i].queries, NULL);
  if (d->timeline) vkDestroySemaphore(d->device, d->timeline, NULL);
  if (d->pool) vkDestroyCommandPool(d->device, d->pool, NULL);
}

// Reads the timestamps of a finished command buffer.
static void collect_times(cd_device *d, cd_slot *slot) {
  uint64_t stamps[2 * cd_slot_commands];
  uint32_t count = slot->timed;
  slot->timed = 0;
  if (!count) return;
  VkResult result = vkGetQueryPoolResults(
    d->device, slot->queries, 0, 2 * count, sizeof stamps, stamps, sizeof *stamps, VK_QUERY_RESULT_64_BIT);
  if (result != VK_SUCCESS) return;
  uint64_t mask = d->timestamp_bits >= 64 ? ~0ull : (1ull << d->timestamp_bits) - 1;
  for (uint32_t i = 0; i < count; i++) {
    cd_pipeline *pipeline = &d->pipelines[slot->kernels[i]];
    pipeline->seconds += (double)(stamps[2 * i + 1] - stamps[2 * i] & mask) * d->timestamp_seconds;
    pipeline->dispatches++;
  }
}

// Waits until the timeline semaphore has this value, and frees the ring's bytes that finished commands used.
static void wait_for(cd_device *d, uint64_t value) {
  if (d->status == cd_ok && d->done_value < value) {
    VkSemaphoreWaitInfo info = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
      .semaphoreCount = 1,
      .pSemaphores = &d->timeline,
      .pValues = &value};
    if (!cd_works(d, "waiting for the device failed", vkWaitSemaphores(d->device, &info, UINT64_MAX))) return;
  }
  if (d->done_value < value) d->done_value = value;
  for (int i = 0; i < cd_slots; i++) {
    cd_slot *slot = &d->slots[i];
    if (slot->value == 0 || slot->value > d->done_value) continue;
    collect_times(d, slot);
    if (slot->ring_head > d->ring_tail) d->ring_tail = slot->ring_head;
    slot->value = 0;
  }
}

// Starts recording a command buffer, unless one is being recorded.
static bool begin(cd_device *d) {
  if (d->status != cd_ok) return false;
  if (d->is_recording) return true;
  cd_slot *slot = &d->slots[d->slot];
  if (slot->value) wait_for(d, slot->value);
  if (d->status != cd_ok) return false;
  if (d->is_profiling && !slot->queries) {
    VkQueryPoolCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
      .queryType = VK_QUERY_TYPE_TIMESTAMP,
      .queryCount = 2 * cd_slot_commands};
    if (!cd_works(d, "creating timestamp queries failed", vkCreateQueryPool(d->device, &info, NULL, &slot->queries)))
      return false;
  }
  VkCommandBufferBeginInfo info = {
    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
  if (!cd_works(d, "recording failed", vkBeginCommandBuffer(slot->commands, &info))) return false;
  if (slot->queries) vkCmdResetQueryPool(slot->commands, slot->queries, 0, 2 * cd_slot_commands);
  slot->count = slot->timed = 0;
  d->is_recording = true;
  return true;
}

void cd_submit(cd_device *d) {
  if (!d->is_recording || d->status != cd_ok) return;
  cd_slot *slot = &d->slots[d->slot];
  d->is_recording = false;
  if (!cd_works(d, "recording failed", vkEndCommandBuffer(slot->commands))) return;
  slot->value = ++d->next_value;
  slot->ring_head = d->ring_head;
  VkTimelineSemaphoreSubmitInfo timeline = {
    .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
    .signalSemaphoreValueCount = 1,
    .pSignalSemaphoreValues = &slot->value};
  VkSubmitInfo info = {
    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
    .pNext = &timeline,
    .commandBufferCount = 1,
    .pCommandBuffers = &slot->commands,
    .signalSemaphoreCount = 1,
    .pSignalSemaphores = &d->timeline};
  if (!cd_works(d, "submitting commands failed", vkQueueSubmit(d->queue, 1, &info, VK_NULL_HANDLE))) return;
  d->counters.submissions++;
  d->slot = (d->slot + 1) % cd_slots;
}

void cd_drain(cd_device *d) {
  cd_submit(d);
  wait_for(d, d->next_value);
}

static void barrier(cd_device *d) {
  VkMemoryBarrier all = {
    .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
    .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
    .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT
      | VK_ACCESS_TRANSFER_WRITE_BIT};
  VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  vkCmdPipelineBarrier(d->slots[d->slot].commands, stages, stages, 0, 1, &all, 0, NULL, 0, NULL);
}

static void count_command(cd_device *d) {
  if (++d->slots[d->slot].count == cd_slot_commands) cd_submit(d);
}

// Reserves bytes of the ring for the next commands and returns their offset. Waits for commands that still use them.
static uint64_t take_ring(cd_device *d, uint64_t size) {
  uint64_t start = (d->ring_head + 63) / 64 * 64;
  if (start % d->ring.size + size > d->ring.size) start = (start / d->ring.size + 1) * d->ring.size;
  while (d->status == cd_ok && start + size > d->ring_tail + d->ring.size) {
    uint64_t oldest = UINT64_MAX;
    for (int i = 0; i < cd_slots; i++)
      if (d->slots[i].value && d->slots[i].value < oldest) oldest = d->slots[i].value;
    if (oldest != UINT64_MAX) wait_for(d, oldest);
    else if (d->is_recording) cd_submit(d);
    else d->ring_tail = d->ring_head;  // no commands are in flight
  }
  d->ring_head = start + size;
  return start % d->ring.size;
}

static void copy(cd_device *d, VkBuffer from, uint64_t from_offset, VkBuffer to, uint64_t to_offset, uint64_t size) {
  if (!size || !begin(d)) return;
  barrier(d);
  VkBufferCopy region = {from_offset, to_offset, size};
  vkCmdCopyBuffer(d->slots[d->slot].commands, from, to, 1, &region);
  d->needs_barrier = true;
  count_command(d);
}

void cd_upload(cd_device *d, cd_memory to, uint64_t offset, const void *bytes, uint64_t size) {
  pthread_mutex_lock(&d->lock);
  const uint8_t *from = bytes;
  for (uint64_t done = 0; done < size && d->status == cd_ok && to.address;) {
    uint64_t part = size - done < d->ring.size / 4 ? size - done : d->ring.size / 4;
    uint64_t place = take_ring(d, part);
    if (d->status != cd_ok) break;
    memcpy(d->ring.host + place, from + done, part);
    copy(d, d->ring.buffer, place, d->blocks[to.block].buffer, to.offset + offset + done, part);
    done += part;
    // The device starts while the host copies the rest.
    if (size > part) cd_submit(d);
  }
  pthread_mutex_unlock(&d->lock);
}

void cd_copy(cd_device *d, cd_memory from, uint64_t from_offset, cd_memory to, uint64_t to_offset, uint64_t size) {
  pthread_mutex_lock(&d->lock);
  if (from.address && to.address)
    copy(
      d, d->blocks[from.block].buffer, from.offset + from_offset, d->blocks[to.block].buffer, to.offset + to_offset,
      size);
  pthread_mutex_unlock(&d->lock);
}

void cd_clear(cd_device *d, cd_memory memory, uint64_t offset, uint64_t size) {
  pthread_mutex_lock(&d->lock);
  if (size && memory.address && begin(d)) {
    barrier(d);
    vkCmdFillBuffer(d->slots[d->slot].commands, d->blocks[memory.block].buffer, memory.offset + offset, size, 0);
    d->needs_barrier = true;
    count_command(d);
  }
  pthread_mutex_unlock(&d->lock);
}

// Makes copied bytes visible to the host.
static void show_host(cd_device *d) {
  VkMemoryBarrier all = {
    .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
    .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
    .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
  if (begin(d))
    vkCmdPipelineBarrier(
      d->slots[d->slot].commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &all, 0, NULL, 0,
      NULL);
}

void cd_read(cd_device *d, const cd_read_part *parts, int count) {
  pthread_mutex_lock(&d->lock);
  int part = 0;
  uint64_t done = 0;  // of this part
  while (part < count) {
    // Copy as much as fits, then wait once.
    uint64_t filled = 0;
    int last = part;
    uint64_t last_done = done;
    while (last < count && filled < d->readback.size) {
      uint64_t left = parts[last].size - last_done, room = d->readback.size - filled;
      uint64_t size = left < room ? left : room;
      if (parts[last].from.address)
        copy(
          d, d->blocks[parts[last].from.block].buffer, parts[last].from.offset + parts[last].offset + last_done,
          d->readback.buffer, filled, size);
      filled = (filled + size + 3) / 4 * 4;
      last_done += size;
      if (last_done == parts[last].size) last++, last_done = 0;
    }
    show_host(d);
    cd_drain(d);
    d->counters.waits++;
    filled = 0;
    while (part < last || (part == last && done < last_done)) {
      uint64_t end = part < last ? parts[part].size : last_done;
      uint8_t *to = (uint8_t *)parts[part].to + done;
      if (d->status == cd_ok && parts[part].from.address) memcpy(to, d->readback.host + filled, end - done);
      else memset(to, 0, end - done);
      filled = (filled + end - done + 3) / 4 * 4;
      done = end;
      if (part < last) part++, done = 0;
    }
  }
  pthread_mutex_unlock(&d->lock);
}

void cd_finish(cd_device *d) {
  pthread_mutex_lock(&d->lock);
  cd_drain(d);
  d->counters.waits++;
  pthread_mutex_unlock(&d->lock);
}

static void dispatch(cd_device *d, int kernel, const cd_call *call) {
  uint8_t arguments[cd_push_bytes];
  memcpy(arguments, call->arguments, call->size);
  if (call->list_size) {
    uint64_t place = take_ring(d, call->list_size), address = d->ring.address + place;
    if (d->status != cd_ok) return;
    memcpy(d->ring.host + place, call->list, call->list_size);
    memcpy(arguments, &address, sizeof address);
  }
  if (!begin(d)) return;
  cd_slot *slot = &d->slots[d->slot];
  // The first command of a command buffer always waits for earlier command buffers.
  if (call->needs_barrier || slot->count == 0 || d->needs_barrier) barrier(d);
  d->needs_barrier = false;
  vkCmdBindPipeline(slot->commands, VK_PIPELINE_BIND_POINT_COMPUTE, d->pipelines[kernel].pipeline);
  vkCmdPushConstants(slot->commands, d->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, (uint32_t)call->size, arguments);
  bool is_timed = d->is_profiling && slot->queries;
  if (is_timed)
    vkCmdWriteTimestamp(slot->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, slot->queries, 2 * slot->timed);
  vkCmdDispatch(slot->commands, call->x, call->y, call->z);
  if (is_timed) {
    vkCmdWriteTimestamp(slot->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, slot->queries, 2 * slot->timed + 1);
    slot->kernels[slot->timed++] = kernel;
  }
  d->counters.dispatches++;
  count_command(d);
}

void cd_dispatch(cd_device *d, int kernel, const cd_call *call) {
  pthread_mutex_lock(&d->lock);
  bool is_valid = call->size <= cd_push_bytes && call->list_size <= d->ring.size / 4;
  if (!is_valid) cd_fail(d, cd_failed, "a kernel has too many arguments", VK_ERROR_UNKNOWN);
  if (d->depth == 0) cd_fail(d, cd_failed, "a kernel was called outside an operation", VK_ERROR_UNKNOWN);
  if (kernel >= 0 && call->x && call->y && call->z && is_valid && d->depth) dispatch(d, kernel, call);
  pthread_mutex_unlock(&d->lock);
}

cd_counters cd_count(cd_device *d) {
  pthread_mutex_lock(&d->lock);
  cd_counters counters = d->counters;
  pthread_mutex_unlock(&d->lock);
  return counters;
}
