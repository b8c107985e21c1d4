/// How a flat buffer is divided among ranks: contiguous chunks in rank order, whose sizes differ by at most one block.
public struct ChunkLayout: Sendable, Hashable {
  /// The chunk of each rank.
  public let ranges: [Range<Int>]

  /// Divides `count` elements evenly. Chunks begin at multiples of `block`, so that quantized optimizer state, which
  /// comes in blocks, is never divided.
  public init(count: Int, ranks: Int, block: Int = 1) {
    let ranks = max(1, ranks)
    let blocks = (count + block - 1) / block
    func start(_ rank: Int) -> Int {
      min(count, (blocks / ranks * rank + min(rank, blocks % ranks)) * block)
    }
    ranges = (0..<ranks).map { start($0)..<start($0 + 1) }
  }

  /// These chunks, one per rank in rank order, without gaps.
  public init(_ ranges: [Range<Int>]) { self.ranges = ranges }

  /// The size of the largest chunk.
  public var largestChunk: Int { ranges.map(\.count).max() ?? 0 }

  /// The same chunks of a buffer that begins elsewhere.
  public func moved(by offset: Int) -> ChunkLayout {
    ChunkLayout(ranges.map { $0.lowerBound + offset..<$0.upperBound + offset })
  }

  /// The layout of the pieces that are exchanged in one round, so that scratch memory stays bounded: the elements from
  /// `offset` to `offset + length` of every chunk.
  func pieces(from offset: Int, length: Int) -> ChunkLayout {
    ChunkLayout(
      ranges.map { range in
        let start = min(range.upperBound, range.lowerBound + offset)
        return start..<min(range.upperBound, start + length)
      })
  }
}
