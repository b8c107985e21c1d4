import CKernels
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Threads that live as long as the process and take numbered tasks from a shared counter.
///
/// Which thread runs a task never changes what the task computes, so results do not depend on the number of threads.
/// Waiting threads spin for some microseconds, long enough for the gap between two operations, and then sleep.
///
/// `@unchecked Sendable`: everything shared is atomic, or guarded by `mutex`, or (the job) written before the round
/// counter is raised and read after it was seen raised.
public final class WorkerPool: @unchecked Sendable {
  /// Threads that work, the caller's included.
  public private(set) var threadCount = 1

  private var job: ((Int) -> Void)?
  private var taskCount = 0
  /// The kernels' instruction set on the caller's thread, which the workers follow.
  private var target = ck_target()
  private let nextTask = Atomic<Int>(0)
  private let round = Atomic<Int>(0)
  private let workersBusy = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let callers = Mutex<Void>(())
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let wake: UnsafeMutablePointer<pthread_cond_t>
  private static let spins = 4000

  /// A pool of `threadCount` threads, the caller's among them; the processors that this process may use by default.
  public init(threadCount: Int? = nil) {
    mutex = .allocate(capacity: 1)
    wake = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    // Where the system grants fewer threads than wanted, those do the work.
    for _ in 1..<max(1, threadCount ?? Self.availableProcessors) where startWorker() { self.threadCount += 1 }
  }

  /// Processors that this process may use.
  public static var availableProcessors: Int { ck_processors() }

  private func startWorker() -> Bool {
    // The pool is never torn down before the process ends: a worker holds it.
    let holder = Unmanaged.passRetained(self)
    let context = holder.toOpaque()
    #if canImport(Darwin)
      var thread: pthread_t?
      let body: @convention(c) (UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? = { context in
        Unmanaged<WorkerPool>.fromOpaque(context).takeUnretainedValue().work()
      }
    #else
      var thread = pthread_t()
      let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { return nil }
        return Unmanaged<WorkerPool>.fromOpaque(context).takeUnretainedValue().work()
      }
    #endif
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    guard pthread_create(&thread, &attributes, body, context) == 0 else {
      holder.release()
      return false
    }
    return true
  }

  private func work() -> UnsafeMutableRawPointer? {
    var seen = 0
    while true {
      var spins = 0
      while round.load(ordering: .acquiring) == seen {
        spins += 1
        if spins < Self.spins {
          ck_pause()
        } else {
          sleepers.add(1, ordering: .sequentiallyConsistent)
          pthread_mutex_lock(mutex)
          while round.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(wake, mutex) }
          pthread_mutex_unlock(mutex)
          sleepers.subtract(1, ordering: .sequentiallyConsistent)
        }
      }
      seen = round.load(ordering: .acquiring)
      ck_select_target(target)
      takeTasks()
      workersBusy.subtract(1, ordering: .acquiringAndReleasing)
    }
  }

  private func takeTasks() {
    guard let job else { return }
    while true {
      let task = nextTask.wrappingAdd(1, ordering: .relaxed).oldValue
      if task >= taskCount { return }
      job(task)
    }
  }

  /// Runs `body` for 0 ..< count, spread over the threads, and returns when all are done. `body` must not call `run`.
  public func run(_ count: Int, _ body: (Int) -> Void) {
    if count <= 1 || threadCount == 1 {
      for task in 0..<max(0, count) { body(task) }
      return
    }
    callers.withLock { _ in
      withoutActuallyEscaping(body) { escapable in
        job = escapable
        taskCount = count
        target = ck_target()
        nextTask.store(0, ordering: .relaxed)
        workersBusy.store(threadCount - 1, ordering: .relaxed)
        round.add(1, ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
          pthread_mutex_lock(mutex)
          pthread_cond_broadcast(wake)
          pthread_mutex_unlock(mutex)
        }
        takeTasks()
        var spins = 0
        while workersBusy.load(ordering: .acquiring) > 0 {
          spins += 1
          // A worker may be waiting for this very processor, where others want it too.
          if spins < Self.spins { ck_pause() } else { sched_yield() }
        }
        job = nil
      }
    }
  }

  /// Runs `body` over consecutive ranges of 0 ..< count of at least `grain` each: about three for each thread.
  public func runRanges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    guard count > 0 else { return }
    let size = max(grain, (count + threadCount * 3 - 1) / (threadCount * 3))
    run((count + size - 1) / size) { task in
      body(task * size..<min(count, (task + 1) * size))
    }
  }
}
