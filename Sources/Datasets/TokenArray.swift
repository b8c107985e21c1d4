import Checkpoints
import Tensors

/// The ids or the labels of all tokens of a training set, in memory or in a memory-mapped file.
///
/// A mapped array needs no memory of its own; the operating system loads and evicts its pages.
public struct TokenArray: RandomAccessCollection, Sendable, Hashable, ExpressibleByArrayLiteral {
  private enum Storage: Sendable {
    case memory([Int32])
    case file(MappedFile, offset: Int, count: Int)
  }
  private var storage: Storage

  /// Creates an array in memory.
  public init(_ numbers: [Int32] = []) { storage = .memory(numbers) }

  /// Creates an array in memory.
  public init(arrayLiteral numbers: Int32...) { self.init(numbers) }

  /// Creates an array in a mapped file of id/label pairs: `count` numbers, the first at byte `offset`, with a stride of
  /// 8 bytes. All of them must be within the file.
  init(_ file: MappedFile, offset: Int, count: Int) { storage = .file(file, offset: offset, count: count) }

  /// The index of the first token, always 0.
  public var startIndex: Int { 0 }

  /// The number of tokens, one past the last index.
  public var endIndex: Int {
    switch storage {
    case .memory(let numbers): numbers.count
    case .file(_, _, let count): count
    }
  }

  /// The id or label of the token at `index`.
  public subscript(index: Int) -> Int32 {
    switch storage {
    case .memory(let numbers): numbers[index]
    case .file(let file, let offset, _): file.number(at: offset + 8 * index)
    }
  }

  /// The ids or labels of a range of tokens.
  public func numbers(_ range: Range<Int>) -> [Int32] {
    switch storage {
    case .memory(let numbers): return Array(numbers[range])
    case .file(let file, let offset, let count):
      precondition(range.lowerBound >= 0 && range.upperBound <= count)
      return file.numbers(at: offset + 8 * range.lowerBound, count: range.count, stride: 8)
    }
  }

  /// Appends to an array in memory.
  mutating func append(_ more: [Int32]) {
    guard case .memory(var numbers) = storage else { return }
    storage = .memory([])  // leaves `numbers` the only reference, so that appending does not copy
    numbers += more
    storage = .memory(numbers)
  }

  /// Whether both arrays have the same elements.
  public static func == (a: TokenArray, b: TokenArray) -> Bool { a.elementsEqual(b) }

  /// Hashes what `==` compares.
  public func hash(into hasher: inout Hasher) { for number in self { hasher.combine(number) } }
}

/// One bit per token: whether it is trained. Stays in memory even if the tokens are in a file.
struct LossMask: Sendable {
  private(set) var words: [UInt64] = []
  private(set) var count = 0

  init() {}

  /// Creates a mask of `count` tokens; `nil` if the number of words is wrong.
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

  /// The number of trained tokens in a range.
  func count(in range: Range<Int>) -> Int {
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
