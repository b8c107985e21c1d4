import CKernels
import Synchronization

import Essentials

/// A work-stealing thread pool that runs numbered tasks. Its threads live as long as the process.
///
/// A *region* is one call of ``run(_:_:)``. Its tasks are divided into consecutive lanes, one per participating thread.
/// A thread takes tasks from the front of its own lane, so that it reads memory in order, and then steals the back half
/// of another lane, so that cores of different speeds finish together. A region ends when its tasks are done, not when
/// every thread has seen it: a thread that the system schedules late finds no work and delays nobody.
///
/// Which thread runs a task never affects what the task computes, so results don't depend on the number of threads.
///
/// `@unchecked Sendable`: shared state is atomic, guarded by `mutex`, or (the job) written before `gate` opens and read
/// only by threads that joined through it.
public final class ThreadPool: @unchecked Sendable {
  /// The number of threads that run tasks, including the caller's.
  public private(set) var threadCount = 1

  private var job: ((Int) -> Void)?
  private var laneCount = 0
  /// The instruction set selected on the caller's thread; workers use the same.
  private var target = ck_target()
  private let lanes: Lanes
  private let gate = Atomic<Int>(0)
  private let callers = Mutex<Void>(())

  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let wake: UnsafeMutablePointer<pthread_cond_t>
  private let finished: UnsafeMutablePointer<pthread_cond_t>
  /// The number of sleeping workers that have not been signaled. Changed under `mutex`.
  private let sleepers = Atomic<Int>(0)
  /// The number of workers that have been signaled but have not woken up yet. Guarded by `mutex`.
  private var permits = 0
  private let callerSleeps = Atomic<Bool>(false)
  private let spinners = Atomic<Int>(0)
  private let processors: Int
  /// The time in nanoseconds until which the processors count as contended by other programs.
  private let crowdedUntil = Atomic<UInt64>(0)

  /// Creates a pool of `threadCount` threads, including the caller's; by default ``ThreadCount/automatic``. There are
  /// never more threads than `processors`: they could only take turns, and delay work while they wait for theirs.
  public init(threadCount: Int? = nil, processors: Int = ThreadCount.processors) {
    let wanted = min(max(1, threadCount ?? ThreadCount.automatic), processors, ThreadCount.most)
    self.processors = ThreadCount.processors
    lanes = Lanes(wanted)
    mutex = .allocate(capacity: 1)
    wake = .allocate(capacity: 1)
    finished = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    pthread_cond_init(finished, nil)
    // If the system starts fewer threads than requested, those do the work.
    for _ in 1..<wanted where startWorker() { self.threadCount += 1 }
  }

  private func startWorker() -> Bool {
    // Workers retain the pool, so it lives until the process ends.
    let holder = Unmanaged.passRetained(self)
    let context = holder.toOpaque()
    #if canImport(Darwin)
      var thread: pthread_t?
      let body: @convention(c) (UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? = { context in
        Unmanaged<ThreadPool>.fromOpaque(context).takeUnretainedValue().work()
      }
    #else
      var thread = pthread_t()
      let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { return nil }
        return Unmanaged<ThreadPool>.fromOpaque(context).takeUnretainedValue().work()
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

  /// Runs `body` once for each number in 0 ..< count, in parallel, and returns when all calls have returned. `body`
  /// must not call `run`.
  public func run(_ count: Int, _ body: (Int) -> Void) {
    if count <= 1 || threadCount == 1 {
      for task in 0..<max(0, count) { body(task) }
      return
    }
    callers.withLock { _ in
      withoutActuallyEscaping(body) { escapable in
        job = escapable
        laneCount = min(count, threadCount)
        target = ck_target()
        lanes.fill(laneCount, tasks: count)
        // All workers have left the last region, so the gate's counts are zero.
        gate.store(Gate(gate.load(ordering: .relaxed)).opened.word, ordering: .sequentiallyConsistent)
        wakeWorkers()
        takeTasks(lane: 0)
        gate.bitwiseAnd(~Gate.open, ordering: .sequentiallyConsistent)
        waitForWorkers()
        job = nil
      }
    }
  }

  /// Runs `body` on consecutive ranges that cover 0 ..< count, of at least `grain` each: about eight per thread.
  public func runRanges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    guard count > 0 else { return }
    let most = threadCount == 1 ? 1 : threadCount * 8
    let size = max(grain, (count + most - 1) / most)
    run((count + size - 1) / size) { task in
      body(task * size..<min(count, (task + 1) * size))
    }
  }

  // MARK: - Tasks

  private func takeTasks(lane: Int) {
    guard let job else { return }
    while true {
      while let task = lanes.next(lane) { job(task) }
      guard let task = lanes.steal(for: lane, of: laneCount) else { return }
      job(task)
    }
  }

  private func work() -> UnsafeMutableRawPointer? {
    var seen = 0
    while true {
      if let lane = join(&seen) {
        if lanes.hasTasks(lane) { wakeWorkers() }
        ck_select_target(target)
        takeTasks(lane: lane)
        leave()
      } else {
        waitForRegion(after: seen)
      }
    }
  }

  /// Joins the open region, if there is one that this worker hasn't joined yet and that has a lane left.
  private func join(_ seen: inout Int) -> Int? {
    while true {
      let state = Gate(gate.load(ordering: .acquiring))
      guard state.isOpen, state.round != seen else { return nil }
      let (exchanged, _) = gate.compareExchange(
        expected: state.word, desired: state.joinedByOne.word, ordering: .sequentiallyConsistent)
      guard exchanged else { continue }
      seen = state.round
      if state.joined + 1 < laneCount { return state.joined + 1 }
      leave()
      return nil
    }
  }

  private func leave() {
    let state = Gate(gate.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue)
    guard !state.isOpen, state.active == 0, callerSleeps.load(ordering: .sequentiallyConsistent) else { return }
    pthread_mutex_lock(mutex)
    pthread_cond_signal(finished)
    pthread_mutex_unlock(mutex)
  }

  // MARK: - Waiting

  /// Wakes two sleeping workers if the region has more lanes than workers that are awake. They wake others in turn.
  private func wakeWorkers() {
    let surplus = threadCount - laneCount
    guard sleepers.load(ordering: .sequentiallyConsistent) > surplus else { return }
    pthread_mutex_lock(mutex)
    let asleep = sleepers.load(ordering: .relaxed)
    let count = max(0, min(2, asleep - surplus))
    sleepers.store(asleep - count, ordering: .sequentiallyConsistent)
    permits += count
    for _ in 0..<count { pthread_cond_signal(wake) }
    pthread_mutex_unlock(mutex)
  }

  /// Returns when a region has opened or, after sleeping, when one is likely to open soon.
  private func waitForRegion(after seen: Int) {
    if spins(while: { Gate(self.gate.load(ordering: .acquiring)).hasNothingNew(after: seen) }) { return }
    pthread_mutex_lock(mutex)
    sleepers.add(1, ordering: .sequentiallyConsistent)
    if Gate(gate.load(ordering: .sequentiallyConsistent)).hasNothingNew(after: seen) {
      while permits == 0 { pthread_cond_wait(wake, mutex) }
      permits -= 1
    } else {
      sleepers.subtract(1, ordering: .sequentiallyConsistent)
    }
    pthread_mutex_unlock(mutex)
  }

  /// Waits until the workers that joined have finished their tasks.
  private func waitForWorkers() {
    if spins(while: { Gate(self.gate.load(ordering: .acquiring)).active > 0 }) { return }
    pthread_mutex_lock(mutex)
    callerSleeps.store(true, ordering: .sequentiallyConsistent)
    while Gate(gate.load(ordering: .sequentiallyConsistent)).active > 0 { pthread_cond_wait(finished, mutex) }
    callerSleeps.store(false, ordering: .sequentiallyConsistent)
    pthread_mutex_unlock(mutex)
  }

  // Times in nanoseconds.
  private static let spinTime: UInt64 = 100_000
  private static let crowdedSpinTime: UInt64 = 3_000
  /// If the clock jumps by this much between two readings, the system ran another thread in between.
  private static let preemption: UInt64 = 200_000
  private static let crowdedTime: UInt64 = 5_000_000

  /// Spins while `isWaiting` returns true, long enough to bridge the gap between two operations.
  ///
  /// A thread that spins on a processor that others need delays them. So at most as many threads spin as there are
  /// processors besides the caller's, and only briefly after one of them was preempted.
  /// - Returns: whether the wait is over; if not, the caller should sleep.
  private func spins(while isWaiting: () -> Bool) -> Bool {
    spinners.add(1, ordering: .relaxed)
    defer { spinners.subtract(1, ordering: .relaxed) }
    let start = Self.nanoseconds()
    var last = start
    while true {
      for _ in 0..<32 {
        if !isWaiting() { return true }
        ck_pause()
      }
      let now = Self.nanoseconds()
      let wasPreempted = now &- last > Self.preemption
      if wasPreempted { crowdedUntil.store(now + Self.crowdedTime, ordering: .relaxed) }
      // Looked at anew each time: the caller still spins when the worker that it waits for begins to.
      let isCrowded =
        spinners.load(ordering: .relaxed) >= processors || now < crowdedUntil.load(ordering: .relaxed)
      let limit = isCrowded ? Self.crowdedSpinTime : Self.spinTime
      if now &- start > limit || wasPreempted { return !isWaiting() }
      last = now
    }
  }

  private static func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// The state of the current region in one word: its number, whether it is open, and how many workers have joined it and
/// are still in it.
private struct Gate {
  let word: Int

  static let open = 1 << 32
  private static let oneJoined = 1 << 16
  private static let firstRound = 1 << 33

  init(_ word: Int) { self.word = word }

  var isOpen: Bool { word & Self.open != 0 }
  var active: Int { word & 0xffff }
  var joined: Int { word >> 16 & 0xffff }
  var round: Int { word >> 33 }

  /// The state that opens the next region.
  var opened: Gate { Gate(((word >> 33) &+ 1) << 33 | Self.open) }
  var joinedByOne: Gate { Gate(word + Self.oneJoined + 1) }

  /// Whether there is nothing new to join for a worker that has been in region `seen`.
  func hasNothingNew(after seen: Int) -> Bool { !isOpen || round == seen }
}

/// The tasks left to each thread: consecutive numbers. The thread takes the first one, others steal the back half.
///
/// A lane is one word: the first task in its lower half, the end in its upper half. A word never recurs within a
/// region, because each task is taken only once, so a successful exchange can't have missed a change (no ABA problem).
private struct Lanes: Sendable {
  /// Two cache lines, because processors prefetch them in pairs.
  private static let stride = 16
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>

  init(_ count: Int) {
    words = .allocate(capacity: count * Self.stride)
    for index in 0..<count * Self.stride { (words + index).initialize(to: Atomic(0)) }
  }

  private func word(_ begin: Int, _ end: Int) -> UInt64 { UInt64(begin) | UInt64(end) << 32 }

  private func range(_ word: UInt64) -> (begin: Int, end: Int) { (Int(word & 0xffff_ffff), Int(word >> 32)) }

  /// Distributes `tasks` tasks evenly over the first `count` lanes.
  func fill(_ count: Int, tasks: Int) {
    precondition(tasks <= Int(UInt32.max), "a region has at most 2^32 - 1 tasks")
    for lane in 0..<count {
      words[lane * Self.stride].store(
        word(tasks * lane / count, tasks * (lane + 1) / count), ordering: .relaxed)
    }
  }

  func hasTasks(_ lane: Int) -> Bool {
    let (begin, end) = range(words[lane * Self.stride].load(ordering: .relaxed))
    return begin < end
  }

  /// Takes the first task of a lane; `nil` if it is empty.
  func next(_ lane: Int) -> Int? {
    while true {
      let old = words[lane * Self.stride].load(ordering: .relaxed)
      let (begin, end) = range(old)
      if begin >= end { return nil }
      let (exchanged, _) = words[lane * Self.stride].weakCompareExchange(
        expected: old, desired: word(begin + 1, end), ordering: .relaxed)
      if exchanged { return begin }
    }
  }

  /// Moves the back half of another lane to the empty `lane` and takes its first task; `nil` if all lanes are empty.
  func steal(for lane: Int, of count: Int) -> Int? {
    for offset in 1..<max(2, count) {
      let other = (lane + offset) % count
      while true {
        let old = words[other * Self.stride].load(ordering: .relaxed)
        let (begin, end) = range(old)
        if begin >= end { break }
        let middle = begin + (end - begin) / 2
        let (exchanged, _) = words[other * Self.stride].weakCompareExchange(
          expected: old, desired: word(begin, middle), ordering: .relaxed)
        guard exchanged else { continue }
        words[lane * Self.stride].store(word(middle + 1, end), ordering: .relaxed)
        return middle
      }
    }
    return nil
  }
}
