/// How documents are put together into items of a fixed length.
public enum PackingStrategy: String, Sendable, CaseIterable {
  /// Best-fit decreasing: whole documents, longest first, each into the fullest item that still has room. What a
  /// document has beyond the length is lost.
  case bfd
  /// The same, but a document beyond the length is cut into pieces first, so nothing is lost.
  case bfdSplit = "bfd_split"
  /// All documents end to end, cut at every multiple of the length; attention and positions run on across documents.
  case wrapped
}

extension TrainingSet {
  /// TRL packs under `datasets.map(batched=True)`, so documents meet only inside windows of this many.
  static let packingWindow = 1000

  /// The same documents in packed items of up to `length` tokens, exactly as `trl.pack_dataset` makes them.
  ///
  /// Best-fit decreasing follows "Fewer Truncations Improve Language Modeling" (Ding et al. 2024).
  public func packed(_ strategy: PackingStrategy, length: Int) -> TrainingSet {
    var result = self
    guard length > 0 else { return result }
    let length = min(length, max(1, ids.count))  // more room than there are tokens changes nothing
    result.items = []
    for start in stride(from: 0, to: documentCount, by: Self.packingWindow) {
      let window = start..<min(start + Self.packingWindow, documentCount)
      switch strategy {
      case .wrapped: result.items += wrapped(window, length: length)
      case .bfd: result.items += bestFit(documents(window).map { $0.prefix(length) }, length)
      case .bfdSplit: result.items += bestFit(documents(window).flatMap { pieces($0, length: length) }, length)
      }
    }
    return result
  }

  private func documents(_ window: Range<Int>) -> [Range<Int>] {
    window.map { documentStarts[$0]..<documentStarts[$0 + 1] }.filter { !$0.isEmpty }
  }

  private func pieces(_ range: Range<Int>, length: Int) -> [Range<Int>] {
    stride(from: range.lowerBound, to: range.upperBound, by: length).map { $0..<min($0 + length, range.upperBound) }
  }

  /// The tokens of a window of documents lie side by side, so an item is simply a stretch of them.
  private func wrapped(_ window: Range<Int>, length: Int) -> [[Range<Int>]] {
    pieces(documentStarts[window.lowerBound]..<documentStarts[window.upperBound], length: length).map { [$0] }
  }

  private func bestFit(_ pieces: [Range<Int>], _ length: Int) -> [[Range<Int>]] {
    var bins: [[Range<Int>]] = []
    // The bins with a given room left, the longest waiting first; and which rooms there are.
    var binsWithRoom: [Int: (queue: [Int], head: Int)] = [:]
    var rooms = RoomTree(largest: length)
    let order = pieces.indices.sorted { (pieces[$1].count, $0) < (pieces[$0].count, $1) }
    for index in order {
      let piece = pieces[index]
      let room = rooms.smallest(atLeast: piece.count)
      let bin: Int
      if let room, var waiting = binsWithRoom[room] {
        bin = waiting.queue[waiting.head]
        waiting.head += 1
        if waiting.head == waiting.queue.count {
          binsWithRoom[room] = nil
          rooms.remove(room)
        } else {
          binsWithRoom[room] = waiting
        }
      } else {
        bin = bins.count
        bins.append([])
      }
      bins[bin].append(piece)
      let left = (room ?? length) - piece.count
      if left > 0 {
        binsWithRoom[left, default: ([], 0)].queue.append(bin)
        rooms.insert(left)
      }
    }
    return bins
  }
}

/// A set of numbers from 1 on that finds the smallest one not below a given number, in logarithmic time.
private struct RoomTree {
  private let width: Int
  /// A heap-shaped tree: each node holds the largest number under it, 0 for none.
  private var largest: [Int]

  init(largest bound: Int) {
    var width = 1
    while width < bound { width *= 2 }
    self.width = width
    largest = Array(repeating: 0, count: 2 * width)
  }

  mutating func insert(_ number: Int) { set(number, to: number) }
  mutating func remove(_ number: Int) { set(number, to: 0) }

  private mutating func set(_ number: Int, to value: Int) {
    var node = width + number - 1
    largest[node] = value
    while node > 1 {
      node /= 2
      largest[node] = max(largest[2 * node], largest[2 * node + 1])
    }
  }

  func smallest(atLeast number: Int) -> Int? {
    guard largest[1] >= number else { return nil }
    var node = 1
    while node < width { node = largest[2 * node] >= number ? 2 * node : 2 * node + 1 }
    return largest[node]
  }
}
