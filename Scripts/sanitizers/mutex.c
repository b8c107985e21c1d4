// Tells the thread sanitizer about Swift's Mutex, which is preloaded into the tests. A Mutex that two threads want at
// once is handed over by the kernel (a futex with priority inheritance), inside a library that is not instrumented, so
// the sanitizer would report a race between everything that such a Mutex protects.
#include <dlfcn.h>
#include <stdint.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define METHOD __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self
// _MutexHandle._lockSlow(_: UInt32) and _MutexHandle._unlockSlow() of the module Synchronization.
#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

METHOD void lock_slow(uint32_t thread, SELF) __asm__(LOCK_SLOW);
METHOD void unlock_slow(SELF) __asm__(UNLOCK_SLOW);

METHOD void lock_slow(uint32_t thread, SELF) {
  static METHOD void (*original)(uint32_t thread, SELF);
  if (!original) original = (METHOD void (*)(uint32_t, SELF))dlsym(RTLD_NEXT, LOCK_SLOW);
  original(thread, self);
  __tsan_acquire(self);
}

METHOD void unlock_slow(SELF) {
  static METHOD void (*original)(SELF);
  if (!original) original = (METHOD void (*)(SELF))dlsym(RTLD_NEXT, UNLOCK_SLOW);
  __tsan_release(self);
  original(self);
}
