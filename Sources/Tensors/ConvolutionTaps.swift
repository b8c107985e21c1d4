/// Which rows a causal convolution reads for each row of its output.
public struct ConvolutionTaps: Sendable, Hashable {
  /// The number of taps of a row.
  public let length: Int
  /// `[rows, length]`: rows of the input, the oldest first; −1 before the start of a sequence.
  public let rows: [Int32]

  /// The taps of sequences joined end to end. A sequence that continues a shared prefix reads its last rows.
  /// - Parameter starts: as ``TokenBatch/sequenceStarts``.
  public init(starts: [Int], length: Int) {
    self.length = length
    let shared = starts.first ?? 0
    var rows: [Int32] = []
    for (start, end) in zip([0] + starts, starts) {
      let before = start < shared ? 0 : shared
      for row in start..<end {
        for tap in 0..<length {
          let offset = row - start - (length - 1 - tap)
          rows.append(offset >= 0 ? Int32(start + offset) : before + offset >= 0 ? Int32(before + offset) : -1)
        }
      }
    }
    self.rows = rows
  }

  /// The taps of `count` rows that follow `length - 1` earlier ones.
  public init(following count: Int, length: Int) {
    self.length = length
    rows = (0..<count).flatMap { row in (0..<length).map { Int32(row + $0) } }
  }
}
