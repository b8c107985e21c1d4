import Testing

import Tensors

/// Dividing the processors of a host among the processes of a run.
@Suite struct ThreadShareTests {
  @Test(arguments: [
    // Each process is bound to its own processors.
    ([[0, 1], [2, 3]], [2, 2]),
    // No process is bound.
    ([[0, 1, 2, 3], [0, 1, 2, 3]], [2, 2]), ([[0, 1, 2], [0, 1, 2]], [1, 1]),
    // More processes than processors.
    ([[0, 1], [0, 1], [0, 1]], [1, 1, 1]),
    // Thirds that add up to whole processors.
    ([[0, 1, 2], [0, 1, 2], [0, 1, 2]], [1, 1, 1]),
    // Two processes share a socket, the third has the other.
    ([[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]], [2, 2, 4]),
  ])
  func processorsAreSharedByTheRanksThatCanUseThem(masks: [[Int]], threads: [Int]) {
    let masks = masks.map { $0.map(Int32.init) }
    #expect(masks.indices.map { ThreadCount.share(of: $0, among: masks) } == threads)
  }

  @Test func aQuotaIsSharedByAllRanks() {
    let masks = [[Int32]](repeating: Array(0..<8), count: 2)
    #expect(ThreadCount.share(of: 0, among: masks, quota: 4) == 2)
    #expect(ThreadCount.share(of: 1, among: masks, quota: 1.5) == 1)
  }

  @Test func processorNumbersMatchTheProcessorCount() {
    let numbers = ThreadCount.processorNumbers
    #expect(numbers.count == ThreadCount.processors && Set(numbers).count == numbers.count)
  }
}
