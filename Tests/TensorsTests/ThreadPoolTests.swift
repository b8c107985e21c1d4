import Foundation
import Synchronization
import Tensors
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The thread pool that runs all kernels.
struct ThreadPoolTests {
  private static let pools = [1, 2, 3, 5].map { ThreadPool(threadCount: $0, processors: $0) }

  /// The number of times that each of `count` tasks ran.
  private func runs(_ pool: ThreadPool, _ count: Int) -> [Int] {
    let counts = Mutex([Int](repeating: 0, count: count))
    pool.run(count) { task in counts.withLock { $0[task] += 1 } }
    return counts.withLock { $0 }
  }

  @Test(arguments: [0, 1, 2, 3, 7, 200])
  func everyTaskRunsOnce(count: Int) {
    for pool in Self.pools {
      #expect(runs(pool, count) == [Int](repeating: 1, count: count), "\(pool.threadCount) threads")
    }
  }

  /// Long enough for workers to fall asleep and be woken in between.
  @Test func manyRegions() {
    for pool in Self.pools {
      var total = 0
      for round in 0..<1000 {
        let sum = Atomic(0)
        pool.run(round % 9) { sum.add($0 + 1, ordering: .relaxed) }
        total += sum.load(ordering: .relaxed)
        if round % 100 == 0 { Thread.sleep(forTimeInterval: 0.002) }
      }
      #expect(total == (0..<1000).reduce(0) { $0 + ($1 % 9) * ($1 % 9 + 1) / 2 })
    }
  }

  /// The caller sees what tasks wrote once their region has ended, and each region sees earlier writes.
  @Test func regionsSeeEarlierWrites() {
    for pool in Self.pools {
      let values = UnsafeMutableBufferPointer<Int>.allocate(capacity: 64)
      defer { values.deallocate() }
      values.initialize(repeating: 0)
      for round in 0..<500 {
        pool.run(64) { values[$0] += round }
        values[round % 64] += 1
      }
      let sum = 499 * 500 / 2
      #expect(values.enumerated().allSatisfy { $1 == sum + (500 - $0 + 63) / 64 })
    }
  }

  @Test func concurrentCallersTakeTurns() async {
    for pool in Self.pools {
      let sums = await withTaskGroup(of: Int.self) { group in
        for caller in 0..<4 {
          group.addTask {
            var total = 0
            for _ in 0..<200 {
              let sum = Atomic(0)
              pool.run(10) { sum.add($0 * caller, ordering: .relaxed) }
              total += sum.load(ordering: .relaxed)
            }
            return total
          }
        }
        var sums: [Int] = []
        for await sum in group { sums.append(sum) }
        return sums.sorted()
      }
      #expect(sums == (0..<4).map { 200 * 45 * $0 })
    }
  }

  @Test(arguments: [(0, 1), (1, 1), (10, 3), (100, 1), (100, 1000), (1001, 64)])
  func rangesCoverEverything(count: Int, grain: Int) {
    for pool in Self.pools {
      let found = Mutex<[Range<Int>]>([])
      pool.runRanges(count, grain: grain) { range in found.withLock { $0.append(range) } }
      let ranges = found.withLock { $0 }.sorted { $0.lowerBound < $1.lowerBound }
      #expect(ranges.flatMap { Array($0) } == Array(0..<count))
      #expect(ranges.dropLast().allSatisfy { $0.count >= grain })
    }
  }

  @Test func workersFollowTheCallersInstructionSet() {
    let usual = InstructionSet.current
    for target in InstructionSet.allCases {
      target.run {
        for pool in Self.pools {
          let seen = Mutex<Set<InstructionSet>>([])
          pool.run(50) { _ in _ = seen.withLock { $0.insert(InstructionSet.current) } }
          #expect(seen.withLock { $0 } == [target])
        }
      }
      #expect(InstructionSet.current == usual)
    }
    #expect(InstructionSet.portable.run { true } == true)
  }

  /// Each thread starts with its own lane and then takes tasks from other lanes.
  @Test(arguments: [2, 3, 5])
  func slowThreadsLoseTasksToOthers(threads: Int) {
    let pool = ThreadPool(threadCount: threads, processors: threads)
    let tasks = 400
    // Task 0 lasts until all others are done: the rest of its lane must be taken by other threads.
    let done = Atomic(0)
    for _ in 0..<20 {
      done.store(0, ordering: .relaxed)
      pool.run(tasks) { task in
        if task == 0 {
          while done.load(ordering: .acquiring) < tasks - 1 { sched_yield() }
        } else {
          done.add(1, ordering: .releasing)
        }
      }
      #expect(done.load(ordering: .relaxed) == tasks - 1)
    }
  }

  /// Two pools with more threads than processors, used at once: no region waits for a thread that isn't running.
  @Test func oversubscribedPools() async {
    let pools = [ThreadPool(threadCount: 16, processors: 16), ThreadPool(threadCount: 16, processors: 16)]
    let totals = await withTaskGroup(of: Int.self) { group in
      for pool in pools {
        group.addTask {
          let total = Atomic(0)
          for _ in 0..<300 { pool.run(40) { total.add($0, ordering: .relaxed) } }
          return total.load(ordering: .relaxed)
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(totals == [300 * 780, 300 * 780])
  }

  @Test func threadsAreCounted() {
    #expect(ThreadPool(threadCount: 0).threadCount == 1)
    #expect(ThreadPool(threadCount: 4, processors: 4).threadCount == 4)
    #expect(ThreadPool(threadCount: 4, processors: 3).threadCount == 3)
    #expect(CPUBackend(threads: 1).threadCount == 1)
    #expect(CPUBackend(threads: 1000).threadCount == ThreadCount.processors)
    #expect(ThreadCount.processors >= 1)
    #expect(ThreadCount.automatic >= 1)
  }
}
