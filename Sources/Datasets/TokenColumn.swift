import Checkpoints
import Tensors

/// One number for each token of all documents, the ids or the labels: in memory, or in a file that is mapped.
///
/// A mapped column costs no memory of its own: the system reads pages when they are asked for, and may forget them.
public struct TokenColumn: RandomAccessCollection, Sendable, Hashable, ExpressibleByArrayLiteral {
  private enum Place: Sendable {
    case memory([Int32])
    case file(MappedFile, offset: Int, count: Int)
  }
  private var place: Place

  /// A column in memory.
  public init(_ numbers: [Int32] = []) { place = .memory(numbers) }

  /// A column in memory.
  public init(arrayLiteral numbers: Int32...) { self.init(numbers) }

  /// The ids or the labels of a file of pairs: `count` numbers, the first at byte `offset`, eight bytes from each to the
  /// next. All of them must lie within the file.
  init(_ file: MappedFile, offset: Int, count: Int) { place = .file(file, offset: offset, count: count) }

  /// The first token's place: 0.
  public var startIndex: Int { 0 }

  /// One past the last token's place.
  public var endIndex: Int {
    switch place {
    case .memory(let numbers): numbers.count
    case .file(_, _, let count): count
    }
  }

  /// The number of the token at `index`.
  public subscript(index: Int) -> Int32 {
    switch place {
    case .memory(let numbers): numbers[index]
    case .file(let file, let offset, _): file.number(at: offset + 8 * index)
    }
  }

  /// The numbers of a range of tokens.
  public func numbers(_ range: Range<Int>) -> [Int32] {
    switch place {
    case .memory(let numbers): return Array(numbers[range])
    case .file(let file, let offset, let count):
      precondition(range.lowerBound >= 0 && range.upperBound <= count)
      return file.numbers(at: offset + 8 * range.lowerBound, count: range.count, stride: 8)
    }
  }

  /// Adds numbers to a column in memory.
  mutating func append(_ more: [Int32]) {
    guard case .memory(var numbers) = place else { return }
    place = .memory([])  // or the numbers would be copied
    numbers += more
    place = .memory(numbers)
  }

  /// Equal when they hold the same numbers.
  public static func == (a: TokenColumn, b: TokenColumn) -> Bool { a.elementsEqual(b) }

  /// Hashes what `==` compares.
  public func hash(into hasher: inout Hasher) { for number in self { hasher.combine(number) } }
}

/// A bit for each token: whether it is trained on. Small enough to be held where the tokens themselves are in a file.
struct TrainedBits: Sendable {
  private(set) var words: [UInt64] = []
  private(set) var count = 0

  init() {}

  /// The bits of `count` tokens; `nil` if the words are not as many as these need.
  init?(words: [UInt64], count: Int) {
    guard count >= 0, words.count == count / 64 + (count % 64 == 0 ? 0 : 1) else { return nil }
    self.words = words
    self.count = count
  }

  mutating func append(_ labels: [Int32]) {
    for label in labels {
      if count % 64 == 0 { words.append(0) }
      if label != TokenBatch.ignoredLabel { words[count / 64] |= 1 << UInt64(count % 64) }
      count += 1
    }
  }

  /// How many tokens of a range are trained on.
  func trained(in range: Range<Int>) -> Int {
    if range.isEmpty { return 0 }
    let (first, last) = (range.lowerBound / 64, (range.upperBound - 1) / 64)
    return (first...last).reduce(0) { sum, index in
      var word = words[index]
      if index == first { word &= .max << UInt64(range.lowerBound % 64) }
      if index == last { word &= .max >> UInt64(63 - (range.upperBound - 1) % 64) }
      return sum + word.nonzeroBitCount
    }
  }
}
