// The kernels: SPIR-V embedded in the program (Scripts/shaders), compiled by the driver on first use. The compiled code
// is cached in a file for the next run.
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __APPLE__
#define CD_SECTION ".const_data"
#define CD_SYMBOL(name) "_" name
#else
#define CD_SECTION ".section .rodata"
#define CD_SYMBOL(name) name
#endif
// The bytes of spirv/NAME.spv between cd_spirv_NAME and cd_spirv_NAME_end.
#define CD_MODULE(name)                                                                      \
  __asm__(CD_SECTION "\n.balign 4\n.globl " CD_SYMBOL("cd_spirv_" #name) "\n" CD_SYMBOL(     \
    "cd_spirv_" #name) ":\n.incbin \"" #name                                                 \
                       ".spv\"\n.globl " CD_SYMBOL("cd_spirv_" #name "_end") "\n" CD_SYMBOL( \
                         "cd_spirv_" #name "_end") ":\n.byte 0\n.text\n");                   \
  extern const uint32_t cd_spirv_##name[];                                                   \
  extern const uint8_t cd_spirv_##name##_end[];
#define CD_ENTRY(module, name)
#include "spirv/table.inc"
#undef CD_MODULE
#undef CD_ENTRY

typedef struct {
  const uint32_t *code;
  const uint8_t *end;
} module_code;
enum {
#define CD_MODULE(name) module_##name,
#define CD_ENTRY(module, name)
#include "spirv/table.inc"
#undef CD_MODULE
#undef CD_ENTRY
  module_count,
};
static const module_code codes[] = {
#define CD_MODULE(name) {cd_spirv_##name, cd_spirv_##name##_end},
#define CD_ENTRY(module, name)
#include "spirv/table.inc"
#undef CD_MODULE
#undef CD_ENTRY
};
static const struct {
  const char *name;
  int module;
} entries[] = {
#define CD_MODULE(name)
#define CD_ENTRY(module, name) {#name, module_##module},
#include "spirv/table.inc"
#undef CD_MODULE
#undef CD_ENTRY
};

const char *cd_source_hash(void) { return CD_SOURCE_HASH; }

bool cd_start_kernels(cd_device *d, const char *cache_folder) {
  VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, cd_push_bytes};
  VkPipelineLayoutCreateInfo layout = {
    .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .pushConstantRangeCount = 1, .pPushConstantRanges = &range};
  if (!cd_works(d, "creating the pipeline layout failed", vkCreatePipelineLayout(d->device, &layout, NULL, &d->layout)))
    return false;
  d->modules = calloc(module_count, sizeof *d->modules);
  if (!d->modules) return false;
  void *bytes = NULL;
  size_t size = 0;
  if (cache_folder) {
    VkPhysicalDeviceProperties2 found = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    vkGetPhysicalDeviceProperties2(d->physical, &found);
    char id[2 * VK_UUID_SIZE + 1] = "";
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++) snprintf(id + 2 * i, 3, "%02x", found.properties.pipelineCacheUUID[i]);
    snprintf(d->cache_path, sizeof d->cache_path, "%s/%s-%.16s.bin", cache_folder, id, CD_SOURCE_HASH);
    struct stat status;
    bool is_regular = stat(d->cache_path, &status) == 0 && S_ISREG(status.st_mode);
    FILE *file = is_regular ? fopen(d->cache_path, "rb") : NULL;
    if (file) {
      fseek(file, 0, SEEK_END);
      long end = ftell(file);
      rewind(file);
      bytes = end > 0 ? malloc((size_t)end) : NULL;
      if (bytes) size = fread(bytes, 1, (size_t)end, file);
      fclose(file);
    }
  }
  // Drivers ignore caches of other drivers.
  VkPipelineCacheCreateInfo info = {
    .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, .initialDataSize = size, .pInitialData = bytes};
  VkResult result = vkCreatePipelineCache(d->device, &info, NULL, &d->cache);
  free(bytes);
  return cd_works(d, "creating the pipeline cache failed", result);
}

void cd_save_kernels(cd_device *d) {
  if (!d->cache_changed || !d->cache_path[0] || !d->cache) return;
  d->cache_changed = false;
  size_t size = 0;
  if (vkGetPipelineCacheData(d->device, d->cache, &size, NULL) != VK_SUCCESS || !size) return;
  void *bytes = malloc(size);
  char path[sizeof d->cache_path + 32];
  snprintf(path, sizeof path, "%s.%ld", d->cache_path, (long)getpid());
  bool has_data = bytes && vkGetPipelineCacheData(d->device, d->cache, &size, bytes) == VK_SUCCESS;
  FILE *file = has_data ? fopen(path, "wb") : NULL;
  if (file) {
    bool wrote = fwrite(bytes, 1, size, file) == size;
    // Replace the file atomically.
    if (fclose(file) != 0 || !wrote || rename(path, d->cache_path) != 0) remove(path);
  }
  free(bytes);
}

void cd_end_kernels(cd_device *d) {
  for (int i = 0; i < d->pipeline_count; i++) vkDestroyPipeline(d->device, d->pipelines[i].pipeline, NULL);
  for (int i = 0; d->modules && i < module_count; i++)
    if (d->modules[i]) vkDestroyShaderModule(d->device, d->modules[i], NULL);
  free(d->modules);
  free(d->pipelines);
  if (d->cache) vkDestroyPipelineCache(d->device, d->cache, NULL);
  if (d->layout) vkDestroyPipelineLayout(d->device, d->layout, NULL);
}

static bool compile(cd_device *d, cd_pipeline *pipeline) {
  int entry = -1, count = sizeof entries / sizeof *entries;
  for (int i = 0; i < count && entry < 0; i++)
    if (!strcmp(entries[i].name, pipeline->name)) entry = i;
  if (entry < 0) {
    cd_fail(d, cd_failed, pipeline->name, VK_ERROR_UNKNOWN);
    return false;
  }
  pipeline->name = entries[entry].name;
  VkShaderModule *module = &d->modules[entries[entry].module];
  if (!*module) {
    module_code code = codes[entries[entry].module];
    VkShaderModuleCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
      .codeSize = (size_t)(code.end - (const uint8_t *)code.code),
      .pCode = code.code};
    if (!cd_works(d, pipeline->name, vkCreateShaderModule(d->device, &info, NULL, module))) return false;
  }
  VkSpecializationMapEntry map[cd_most_constants];
  for (uint32_t i = 0; i < cd_most_constants; i++) map[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
  VkSpecializationInfo constants = {
    (uint32_t)pipeline->constant_count, map, 4 * (size_t)pipeline->constant_count, pipeline->constants};
  // Kernels for matrix units rely on the size of a subgroup.
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
    .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
    .requiredSubgroupSize = d->info.matrix_size == 8 ? 8 : 32};
  bool uses_matrices = !strncmp(pipeline->name, "matrix", 6);
  VkComputePipelineCreateInfo info = {
    .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
    .stage =
      {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
       .pNext = uses_matrices ? &subgroup : NULL,
       .flags = uses_matrices ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
       .stage = VK_SHADER_STAGE_COMPUTE_BIT,
       .module = *module,
       .pName = pipeline->name,
       .pSpecializationInfo = &constants},
    .layout = d->layout};
  VkResult result = vkCreateComputePipelines(d->device, d->cache, 1, &info, NULL, &pipeline->pipeline);
  d->cache_changed = true;
  return cd_works(d, pipeline->name, result);
}

int cd_kernel(cd_device *d, const char *name, const uint32_t *constants, int count) {
  if (count > cd_most_constants) return -1;
  uint64_t hash = 14695981039346656037ull;
  for (const char *c = name; *c; c++) hash = (hash ^ (uint8_t)*c) * 1099511628211ull;
  for (int i = 0; i < count; i++) hash = (hash ^ constants[i]) * 1099511628211ull;
  pthread_mutex_lock(&d->lock);
  int found = -1;
  uint32_t place = (uint32_t)(hash >> 32) % cd_kernel_table;
  for (; d->table[place] && found < 0; place = (place + 1) % cd_kernel_table) {
    cd_pipeline *known = &d->pipelines[d->table[place] - 1];
    if (
      known->hash == hash && known->constant_count == count && !strcmp(known->name, name)
      && !memcmp(known->constants, constants, 4 * (size_t)count))
      found = d->table[place] - 1;
  }
  if (found < 0 && d->status == cd_ok && d->pipeline_count < cd_kernel_table / 2) {
    cd_pipeline *more = realloc(d->pipelines, ((size_t)d->pipeline_count + 1) * sizeof *more);
    if (more) {
      d->pipelines = more;
      cd_pipeline *pipeline = &more[d->pipeline_count];
      *pipeline = (cd_pipeline){.hash = hash, .name = name, .constant_count = count};
      if (count) memcpy(pipeline->constants, constants, 4 * (size_t)count);
      if (compile(d, pipeline)) {
        found = d->pipeline_count++;
        d->table[place] = found + 1;
      }
    }
  }
  pthread_mutex_unlock(&d->lock);
  return found;
}

void cd_profile(cd_device *d, bool on) {
  pthread_mutex_lock(&d->lock);
  cd_drain(d);
  d->is_profiling = on && d->timestamp_bits > 0;
  if (on)
    for (int i = 0; i < d->pipeline_count; i++) d->pipelines[i].dispatches = 0, d->pipelines[i].seconds = 0;
  pthread_mutex_unlock(&d->lock);
}

static int by_time(const void *a, const void *b) {
  double difference = ((const cd_kernel_time *)b)->seconds - ((const cd_kernel_time *)a)->seconds;
  return difference > 0 ? 1 : difference < 0 ? -1 : 0;
}

int cd_kernel_times(cd_device *d, cd_kernel_time *times, int most) {
  pthread_mutex_lock(&d->lock);
  cd_drain(d);
  int count = 0;
  for (int i = 0; i < d->pipeline_count && count < most; i++) {
    cd_pipeline *pipeline = &d->pipelines[i];
    if (!pipeline->dispatches) continue;
    cd_kernel_time *time = &times[count++];
    time->count = pipeline->dispatches;
    time->seconds = pipeline->seconds;
    int end = snprintf(time->name, sizeof time->name, "%s", pipeline->name);
    for (int j = 0; j < pipeline->constant_count && end < (int)sizeof time->name; j++)
      end += snprintf(time->name + end, sizeof time->name - (size_t)end, " %u", pipeline->constants[j]);
  }
  qsort(times, (size_t)count, sizeof *times, by_time);
  pthread_mutex_unlock(&d->lock);
  return count;
}
