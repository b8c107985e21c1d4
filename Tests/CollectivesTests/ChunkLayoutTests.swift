import Testing

import Collectives

@Suite struct ChunkLayoutTests {
  @Test(arguments: [(0, 1), (1, 4), (10, 3), (4096, 4), (1_000_003, 7)])
  func chunksCoverTheBufferInRankOrder(count: Int, ranks: Int) {
    let layout = ChunkLayout(count: count, ranks: ranks)
    #expect(layout.ranges.count == ranks)
    #expect(layout.ranges.first?.lowerBound == 0 && layout.ranges.last?.upperBound == count)
    for (chunk, next) in zip(layout.ranges, layout.ranges.dropFirst()) { #expect(chunk.upperBound == next.lowerBound) }
    let sizes = layout.ranges.map(\.count)
    #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1)
  }

  @Test func chunksBeginAtBlocks() {
    let layout = ChunkLayout(count: 1000, ranks: 3, block: 256)
    #expect(layout.ranges == [0..<512, 512..<768, 768..<1000])
  }

  @Test func moreRanksThanBlocksLeaveSomeEmpty() {
    let layout = ChunkLayout(count: 100, ranks: 3, block: 256)
    #expect(layout.ranges == [0..<100, 100..<100, 100..<100])
  }
}
