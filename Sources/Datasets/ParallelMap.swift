import Diagnostics
import Dispatch
import Essentials
import Synchronization
import Tensors

/// A parallel map over numbers or row indices. Results are in order, whichever thread computes them.
package enum Parallel {
  /// The results of `body` for each number of `range`. Threads take the next number when they are free.
  package static func map<Value: Sendable>(
    _ range: Range<Int>, threads: Int? = nil, _ body: @Sendable (Int) -> Value
  ) -> [Value] {
    let results = Results<Value>(range)
    let threads = max(1, min(threads ?? CPUBackend.shared.threadCount, range.count))
    DispatchQueue.concurrentPerform(iterations: threads) { _ in
      while let number = results.next() { results.set(body(number), for: number) }
    }
    return results.values
  }

  /// The results of `body` for consecutive chunks of row indices, each of up to `chunkSize`.
  /// - Throws: the error of the first chunk that has one.
  package static func map<Value: Sendable>(
    rows: Range<Int>, chunkSize: Int, threads: Int? = nil,
    _ body: @Sendable (Range<Int>) throws(SwiftletError) -> Value
  ) throws(SwiftletError) -> [Value] {
    let count = (rows.count + chunkSize - 1) / chunkSize
    let results = map(0..<count, threads: threads) { number in
      let start = rows.lowerBound + number * chunkSize
      return Result { () throws(SwiftletError) in try body(start..<min(start + chunkSize, rows.upperBound)) }
    }
    var values: [Value] = []
    values.reserveCapacity(count)
    for result in results { values.append(try result.get()) }
    return values
  }

  private final class Results<Value: Sendable>: @unchecked Sendable {
    // Sendable because mutable state is only accessed under `lock`.
    private let lock = Mutex<Void>(())
    private let range: Range<Int>
    private var nextNumber: Int
    private var results: [Value?]

    init(_ range: Range<Int>) {
      self.range = range
      nextNumber = range.lowerBound
      results = Array(repeating: nil, count: range.count)
    }

    /// Takes the next number; `nil` if all are taken.
    func next() -> Int? {
      lock.withLock { _ in
        guard nextNumber < range.upperBound else { return nil }
        defer { nextNumber += 1 }
        return nextNumber
      }
    }

    func set(_ value: Value, for number: Int) { lock.withLock { _ in results[number - range.lowerBound] = value } }

    var values: [Value] { lock.withLock { _ in results.compactMap(\.self) } }
  }
}
