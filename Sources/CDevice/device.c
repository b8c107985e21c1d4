// Loads Vulkan, lists devices and opens them.
#include "internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CD_DEFINE(name) PFN_##name name;
CD_FUNCTIONS(CD_DEFINE)

// Part of an extension, so it may be NULL.
static PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR matrix_properties;

static VkInstance instance;
static VkPhysicalDevice devices[16];
static uint32_t device_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void) {
#ifdef __APPLE__
  void *library = dlopen("libvulkan.1.dylib", RTLD_NOW | RTLD_LOCAL);
#else
  void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
#endif
  if (!library) return;
  PFN_vkGetInstanceProcAddr get = (PFN_vkGetInstanceProcAddr)dlsym(library, "vkGetInstanceProcAddr");
  PFN_vkCreateInstance create = get ? (PFN_vkCreateInstance)get(NULL, "vkCreateInstance") : NULL;
  if (!create) return;
  VkApplicationInfo application = {
    .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "swiftlet", .apiVersion = VK_API_VERSION_1_3};
  VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
  if (create(&info, NULL, &instance) != VK_SUCCESS) return;
#define CD_LOAD(name) name = (PFN_##name)get(instance, #name);
  CD_FUNCTIONS(CD_LOAD)
#define CD_MISSING(name) \
  if (!name) return;
  CD_FUNCTIONS(CD_MISSING)
  matrix_properties = (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)get(
    instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
  uint32_t count = sizeof devices / sizeof *devices;
  VkResult result = vkEnumeratePhysicalDevices(instance, &count, devices);
  if (result == VK_SUCCESS || result == VK_INCOMPLETE) device_count = count;
}

static bool has_extension(VkPhysicalDevice physical, const char *name) {
  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
  VkExtensionProperties *all = calloc(count ? count : 1, sizeof *all);
  bool found = false;
  if (all && vkEnumerateDeviceExtensionProperties(physical, NULL, &count, all) == VK_SUCCESS)
    for (uint32_t i = 0; i < count && !found; i++) found = !strcmp(all[i].extensionName, name);
  free(all);
  return found;
}

typedef struct {
  VkPhysicalDeviceFeatures2 all;
  VkPhysicalDeviceVulkan11Features v11;
  VkPhysicalDeviceVulkan12Features v12;
  VkPhysicalDeviceVulkan13Features v13;
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices;  // in the chain only if the device supports the extension
} features;

static void chain(features *f, bool has_matrices) {
  memset(f, 0, sizeof *f);
  f->all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  f->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  f->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  f->all.pNext = &f->v11;
  f->v11.pNext = &f->v12;
  f->v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  f->v12.pNext = &f->v13;
  f->matrices.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
  if (has_matrices) f->v13.pNext = &f->matrices;
}

// Checks for the features that the kernels need, and enables them in `on`. Returns the first missing one, or "".
static const char *need(features *has, features *on) {
#define CD_NEED(where, feature)             \
  if (!has->where.feature) return #feature; \
  on->where.feature = VK_TRUE;
  CD_NEED(all.features, shaderInt64)
  CD_NEED(all.features, shaderInt16)
  CD_NEED(v11, storageBuffer16BitAccess)
  CD_NEED(v12, storageBuffer8BitAccess)
  CD_NEED(v12, shaderInt8)
  CD_NEED(v12, scalarBlockLayout)
  CD_NEED(v12, bufferDeviceAddress)
  CD_NEED(v12, timelineSemaphore)
  return "";
}

// The size of the matrices that this device's matrix units multiply, 8 or 16; 0 if it has none that the kernels can
// use. A subgroup has 8 threads for 8 x 8 matrices (lavapipe), and 32 for 16 x 16 matrices (all others).
static uint32_t matrix_size(VkPhysicalDevice physical, const features *has) {
  bool is_complete = has->matrices.cooperativeMatrix && has->v12.shaderFloat16 && has->v12.vulkanMemoryModel
    && has->v12.vulkanMemoryModelDeviceScope && has->v13.subgroupSizeControl && has->v13.computeFullSubgroups;
  if (!is_complete || !matrix_properties) return 0;
  VkPhysicalDeviceSubgroupSizeControlProperties subgroups = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
  VkPhysicalDeviceProperties2 properties = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &subgroups};
  vkGetPhysicalDeviceProperties2(physical, &properties);
  if (!(subgroups.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT)) return 0;
  VkCooperativeMatrixPropertiesKHR all[128];
  uint32_t count = sizeof all / sizeof *all, found = 0;
  for (uint32_t i = 0; i < count; i++)
    all[i] = (VkCooperativeMatrixPropertiesKHR){.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
  VkResult result = matrix_properties(physical, &count, all);
  if (result != VK_SUCCESS && result != VK_INCOMPLETE) return 0;
  for (uint32_t i = 0; i < count; i++) {
    const VkCooperativeMatrixPropertiesKHR *m = &all[i];
    uint32_t threads = m->MSize == 8 ? 8 : 32;
    bool is_square = (m->MSize == 8 || m->MSize == 16) && m->NSize == m->MSize && m->KSize == m->MSize;
    bool is_float = m->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && m->BType == VK_COMPONENT_TYPE_FLOAT16_KHR
      && m->CType == VK_COMPONENT_TYPE_FLOAT32_KHR && m->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR;
    bool fits = threads >= subgroups.minSubgroupSize && threads <= subgroups.maxSubgroupSize;
    if (is_square && is_float && fits && m->scope == VK_SCOPE_SUBGROUP_KHR && m->MSize > found) found = m->MSize;
  }
  return found;
}

static void describe(VkPhysicalDevice physical, cd_info *info) {
  memset(info, 0, sizeof *info);
  VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
  vkGetPhysicalDeviceProperties2(physical, &properties);
  snprintf(info->name, sizeof info->name, "%s", properties.properties.deviceName);
  snprintf(info->driver, sizeof info->driver, "%.120s %.120s", driver.driverName, driver.driverInfo);
  info->is_software = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  info->is_integrated = properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
  VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  vkGetPhysicalDeviceMemoryProperties2(physical, &memory);
  for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++) {
    VkMemoryHeap heap = memory.memoryProperties.memoryHeaps[i];
    if (heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && heap.size > info->memory) info->memory = heap.size;
  }
  bool has_matrices = has_extension(physical, "VK_KHR_cooperative_matrix");
  features has, on;
  chain(&has, has_matrices);
  chain(&on, has_matrices);
  if (properties.properties.apiVersion < VK_API_VERSION_1_3) {
    snprintf(info->missing, sizeof info->missing, "Vulkan 1.3");
    return;
  }
  vkGetPhysicalDeviceFeatures2(physical, &has.all);
  snprintf(info->missing, sizeof info->missing, "%s", need(&has, &on));
  info->matrix_size = matrix_size(physical, &has);
}

int cd_list(cd_info *infos, int most) {
  pthread_once(&once, start);
  for (int i = 0; i < most && i < (int)device_count; i++) describe(devices[i], infos + i);
  return (int)device_count;
}

void cd_fail(cd_device *device, cd_status status, const char *what, VkResult result) {
  if (device->status != cd_ok) return;
  device->status = result == VK_ERROR_DEVICE_LOST ? cd_lost : status;
  snprintf(device->message, sizeof device->message, "%s (VkResult %d)", what, (int)result);
}

bool cd_works(cd_device *device, const char *what, VkResult result) {
  if (result == VK_SUCCESS) return true;
  bool is_memory = result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
  cd_fail(device, is_memory ? cd_out_of_memory : cd_failed, what, result);
  return false;
}

cd_status cd_check(cd_device *device, char *message, size_t message_size) {
  pthread_mutex_lock(&device->lock);
  cd_status status = device->status;
  if (message_size) snprintf(message, message_size, "%s", device->message);
  pthread_mutex_unlock(&device->lock);
  return status;
}

void cd_simulate_failure(cd_device *device, cd_status status) {
  pthread_mutex_lock(&device->lock);
  if (status != cd_ok) cd_fail(device, status, "the driver reset it", VK_ERROR_UNKNOWN);
  pthread_mutex_unlock(&device->lock);
}

void cd_begin(cd_device *device) {
  pthread_mutex_lock(&device->lock);
  if (device->depth++ == 0) device->needs_barrier = true;
}

void cd_end(cd_device *device) {
  if (--device->depth == 0) cd_free_deferred(device);
  pthread_mutex_unlock(&device->lock);
}

static bool make_device(cd_device *d) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(d->physical, &count, NULL);
  VkQueueFamilyProperties families[32];
  if (count > 32) count = 32;
  vkGetPhysicalDeviceQueueFamilyProperties(d->physical, &count, families);
  // Prefer a queue family without graphics, which doesn't wait for rendering.
  int best = -1;
  for (uint32_t i = 0; i < count; i++) {
    if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT)) continue;
    if (best < 0 || !(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT)) best = (int)i;
    if (!(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT)) break;
  }
  if (best < 0) {
    cd_fail(d, cd_failed, "the device has no compute queue", VK_ERROR_FEATURE_NOT_PRESENT);
    return false;
  }
  d->family = (uint32_t)best;
  d->timestamp_bits = families[best].timestampValidBits;
  bool has_matrices = d->info.matrix_size > 0;
  features has, on;
  chain(&has, has_matrices);
  chain(&on, has_matrices);
  vkGetPhysicalDeviceFeatures2(d->physical, &has.all);
  need(&has, &on);
  // Arguments contain pointers to bytes, which the validation layer of 2023 takes for bytes.
  on.v12.storagePushConstant8 = has.v12.storagePushConstant8;
  d->has_budget = has_extension(d->physical, "VK_EXT_memory_budget");
  const char *extensions[2];
  uint32_t extension_count = 0;
  if (d->has_budget) extensions[extension_count++] = "VK_EXT_memory_budget";
  if (has_matrices) {
    extensions[extension_count++] = "VK_KHR_cooperative_matrix";
    on.matrices.cooperativeMatrix = on.v12.shaderFloat16 = on.v12.vulkanMemoryModel = VK_TRUE;
    on.v12.vulkanMemoryModelDeviceScope = on.v13.subgroupSizeControl = on.v13.computeFullSubgroups = VK_TRUE;
  }
  float priority = 1;
  VkDeviceQueueCreateInfo queue = {
    .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
    .queueFamilyIndex = d->family,
    .queueCount = 1,
    .pQueuePriorities = &priority};
  VkDeviceCreateInfo info = {
    .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
    .pNext = &on.all,
    .queueCreateInfoCount = 1,
    .pQueueCreateInfos = &queue,
    .enabledExtensionCount = extension_count,
    .ppEnabledExtensionNames = extensions};
  VkResult result = vkCreateDevice(d->physical, &info, NULL, &d->device);
  if (!cd_works(d, "the device could not be opened", result)) return false;
  vkGetDeviceQueue(d->device, d->family, 0, &d->queue);
  VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  vkGetPhysicalDeviceProperties2(d->physical, &properties);
  d->timestamp_seconds = properties.properties.limits.timestampPeriod * 1e-9;
  VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  vkGetPhysicalDeviceMemoryProperties2(d->physical, &memory);
  d->memory = memory.memoryProperties;
  // Drivers allow about 4,096 allocations. A block takes at most 1/16 of a small heap.
  d->block_size = d->info.memory / 16 < (256ull << 20) ? d->info.memory / 16 : 256ull << 20;
  return true;
}

cd_device *cd_open(int index, const char *cache_folder, char *message, size_t message_size) {
  pthread_once(&once, start);
  cd_device *d = index >= 0 && index < (int)device_count ? calloc(1, sizeof *d) : NULL;
  if (!d) {
    snprintf(message, message_size, "there is no Vulkan device %d", index);
    return NULL;
  }
  pthread_mutexattr_t recursive;
  pthread_mutexattr_init(&recursive);
  pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&d->lock, &recursive);
  pthread_mutexattr_destroy(&recursive);
  d->physical = devices[index];
  describe(d->physical, &d->info);
  if (d->info.missing[0]) {
    snprintf(message, message_size, "the device lacks %s", d->info.missing);
  } else if (!make_device(d) || !cd_start_commands(d) || !cd_start_kernels(d, cache_folder)) {
    snprintf(message, message_size, "%s", d->message);
  } else {
    return d;
  }
  cd_close(d);
  return NULL;
}

void cd_close(cd_device *d) {
  if (d->device) {
    vkDeviceWaitIdle(d->device);
    cd_save_kernels(d);
    cd_end_kernels(d);
    cd_end_commands(d);
    cd_free_memory(d);
    vkDestroyDevice(d->device, NULL);
  }
  pthread_mutex_destroy(&d->lock);
  free(d);
}
