import Diagnostics
import Tensors

/// Communication among the processes (ranks) of a data-parallel run. All ranks must call the same functions in the same
/// order; each call returns once this rank's part is done.
///
/// Sums have the same bits on every rank and in every run with the same number of ranks: contributions are added in
/// rank order, whatever the network does.
public protocol Collective: AnyObject, Sendable {
  /// This process's number, from 0 to `size - 1`.
  var rank: Int { get }
  /// The number of processes in the run.
  var size: Int { get }
  /// This process's number among those on the same host.
  var hostRank: Int { get }
  /// The number of processes on this host.
  var hostSize: Int { get }
  /// The lowest rank on this host, which identifies the host.
  var host: Int { get }

  /// Replaces each rank's chunk of `buffer` by the sum over all ranks (reduce-scatter). The other chunks are undefined
  /// afterwards.
  ///
  /// - Parameters:
  ///   - buffer: float32, of the same size on all ranks; changed in place.
  ///   - chunks: which part of the buffer each rank owns.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  func reduceScatter(_ buffer: Tensor, chunks: ChunkLayout) throws(SwiftletError)

  /// Copies each rank's chunk of `buffer` to all ranks (all-gather).
  /// - Throws: `SwiftletError` if another rank or the network fails.
  func allGather(_ buffer: Tensor, chunks: ChunkLayout) throws(SwiftletError)

  /// The bytes that the rank `root` passes. The other ranks' `bytes` are ignored.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  func broadcast(_ bytes: [UInt8], from root: Int) throws(SwiftletError) -> [UInt8]

  /// Copies a tensor of the rank `root` into tensors of the same size on all others.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  func broadcast(_ tensor: Tensor, from root: Int) throws(SwiftletError)

  /// Copies a tensor of one rank into a tensor of the same size of another. Both call it at the same time; on all other
  /// ranks it does nothing.
  ///
  /// - Parameters:
  ///   - tensor: read on the rank `source` and written on the rank `destination`.
  ///   - source: the rank that has the values.
  ///   - destination: the rank that receives them.
  /// - Throws: `SwiftletError` if the other rank or the network fails.
  func copy(_ tensor: Tensor, from source: Int, to destination: Int) throws(SwiftletError)

  /// What every rank passes, in rank order. All must pass the same number of bytes.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  func gather(_ bytes: [UInt8]) throws(SwiftletError) -> [[UInt8]]

  /// Returns once all ranks have called it.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  func barrier() throws(SwiftletError)

  /// Ends all processes of the run at once with this exit status.
  func abort(status: Int32)
}

extension Collective {
  /// Replaces `buffer` by its sum over all ranks (all-reduce): the traffic of a ring, 2 (n - 1) / n times the buffer
  /// per rank.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  public func sum(_ buffer: Tensor) throws(SwiftletError) {
    guard size > 1 else { return }
    let chunks = ChunkLayout(count: buffer.count, ranks: size)
    try reduceScatter(buffer, chunks: chunks)
    try allGather(buffer, chunks: chunks)
  }

  /// The sums over all ranks of a few numbers, added in rank order.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  public func sum(_ numbers: [Double]) throws(SwiftletError) -> [Double] {
    guard size > 1 else { return numbers }
    let all = try gather(numbers.flatMap { number in withUnsafeBytes(of: number.bitPattern.littleEndian, Array.init) })
    return numbers.indices.map { index in
      all.reduce(0.0) { sum, bytes in
        let bits = bytes[index * 8..<index * 8 + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return sum + Double(bitPattern: bits)
      }
    }
  }
}

extension Collective {
  /// Runs `body` on one rank of each host first, then on the other ranks, which reuse what the first one has cached on
  /// disk.
  /// - Throws: what `body` throws, and `SwiftletError` if another rank or the network fails.
  public func leadersFirst<Value>(_ body: () throws -> Value) throws -> Value {
    if hostRank > 0 { try barrier() }
    let value = try body()
    if hostRank == 0 { try barrier() }
    return value
  }

  /// The first rank whose text differs from that of rank 0; `nil` if all texts are equal. Texts are compared by their
  /// first 64 bytes of UTF-8.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  public func firstDifference(_ text: String) throws(SwiftletError) -> Int? {
    let bytes = Array(text.utf8.prefix(64))
    let all = try gather(bytes + [UInt8](repeating: 0, count: 64 - bytes.count))
    return all.firstIndex { $0 != all[0] }
  }

  /// The smallest of the numbers that the ranks pass.
  /// - Throws: `SwiftletError` if another rank or the network fails.
  public func minimum(_ number: Int) throws(SwiftletError) -> Int {
    try gather(Array(String(number).utf8) + [UInt8](repeating: 32, count: 20 - String(number).utf8.count))
      .compactMap { Int(String(decoding: $0.prefix { $0 != 32 }, as: UTF8.self)) }.min() ?? number
  }
}

/// The collective of a run with one process: every operation is a no-op.
public final class SingleProcess: Collective {
  /// The rank of the only process, 0.
  public let rank = 0
  /// The number of processes, 1.
  public let size = 1
  /// The only rank on this host, 0.
  public let hostRank = 0
  /// One process on this host.
  public let hostSize = 1
  /// The only rank, 0.
  public let host = 0

  /// Creates the collective of a single process.
  public init() {}

  /// Does nothing: the buffer already is the sum.
  public func reduceScatter(_ buffer: Tensor, chunks: ChunkLayout) {}
  /// Does nothing: the only chunk is complete.
  public func allGather(_ buffer: Tensor, chunks: ChunkLayout) {}
  /// Returns `bytes`: the only rank is the root.
  public func broadcast(_ bytes: [UInt8], from root: Int) -> [UInt8] { bytes }
  /// Does nothing: there is no other rank to send to.
  public func broadcast(_ tensor: Tensor, from root: Int) {}
  /// Does nothing: the values are here already.
  public func copy(_ tensor: Tensor, from source: Int, to destination: Int) {}
  /// Returns `bytes` as the only element.
  public func gather(_ bytes: [UInt8]) -> [[UInt8]] { [bytes] }
  /// Returns at once: there is no other rank to wait for.
  public func barrier() {}
  /// Does nothing: there is no other process, and the caller ends this one.
  public func abort(status: Int32) {}
}
