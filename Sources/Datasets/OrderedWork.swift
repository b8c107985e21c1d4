import Diagnostics
import Foundation

/// Work on numbered pieces by several threads, its results in the order of the numbers.
enum OrderedWork {
  /// What `body` gives for each number of `range`; threads take one number after the other.
  static func map<Value: Sendable>(
    _ range: Range<Int>, threads: Int? = nil, _ body: @Sendable (Int) -> Value
  ) -> [Value] {
    let slots = Slots<Value>(range)
    let threads = max(1, min(threads ?? ProcessInfo.processInfo.activeProcessorCount, range.count))
    DispatchQueue.concurrentPerform(iterations: threads) { _ in
      while let number = slots.next() { slots.fill(number, body(number)) }
    }
    return slots.values
  }

  /// The same over the rows of a source: what `body` gives for each stretch of up to `stretch` row numbers.
  /// - Throws: the error of the first stretch that has one.
  static func map<Value: Sendable>(
    rows: Range<Int>, stretch: Int, threads: Int? = nil,
    _ body: @Sendable (Range<Int>) throws(SwiftletError) -> Value
  ) throws(SwiftletError) -> [Value] {
    let count = (rows.count + stretch - 1) / stretch
    let results = map(0..<count, threads: threads) { number in
      let start = rows.lowerBound + number * stretch
      return Result { () throws(SwiftletError) in try body(start..<min(start + stretch, rows.upperBound)) }
    }
    var values: [Value] = []
    values.reserveCapacity(count)
    for result in results { values.append(try result.get()) }
    return values
  }

  /// A slot a number.
  private final class Slots<Value: Sendable>: @unchecked Sendable {
    // Sendable because what changes is only touched while `lock` is held.
    private let lock = NSLock()
    private let range: Range<Int>
    private var following: Int
    private var filled: [Value?]

    init(_ range: Range<Int>) {
      self.range = range
      following = range.lowerBound
      filled = Array(repeating: nil, count: range.count)
    }

    /// The next number that nobody has taken.
    func next() -> Int? {
      lock.withLock {
        guard following < range.upperBound else { return nil }
        defer { following += 1 }
        return following
      }
    }

    func fill(_ number: Int, _ value: Value) { lock.withLock { filled[number - range.lowerBound] = value } }

    var values: [Value] { lock.withLock { filled.compactMap(\.self) } }
  }
}
