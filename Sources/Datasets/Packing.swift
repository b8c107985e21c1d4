/// How documents are put together into items of a fixed length.
public enum PackingStrategy: String, Sendable, CaseIterable, Codable {
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
  /// - Parameter order: the numbers of the documents in the order they are packed in; as they stand without it.
  public func packed(_ strategy: PackingStrategy, length: Int, order: [Int]? = nil) -> TrainingSet {
    var result = self
    guard length > 0 else { return result }
    let length = min(length, max(1, documentStarts[documentCount]))  // more room than there are tokens changes nothing
    result.items = []
    result.joinsPieces = strategy == .wrapped
    for start in stride(from: 0, to: documentCount, by: Self.packingWindow) {
      let window = start..<min(start + Self.packingWindow, documentCount)
      let documents = window.map { order?[$0] ?? $0 }.map { documentStarts[$0]..<documentStarts[$0 + 1] }
        .filter { !$0.isEmpty }
      switch strategy {
      case .wrapped: result.items += wrapped(documents, length)
      case .bfd: result.items += bestFit(documents.map { $0.prefix(length) }, length)
      case .bfdSplit: result.items += bestFit(documents.flatMap { pieces($0, length: length) }, length)
      }
    }
    return result
  }

  private func pieces(_ range: Range<Int>, length: Int) -> [Range<Int>] {
    stride(from: range.lowerBound, to: range.upperBound, by: length).map { $0..<min($0 + length, range.upperBound) }
  }

  /// Documents end to end, cut wherever an item is full; what lies side by side is one piece.
  private func wrapped(_ documents: [Range<Int>], _ length: Int) -> [[Range<Int>]] {
    var items: [[Range<Int>]] = []
    var item: [Range<Int>] = []
    var room = length
    for document in documents {
      var rest = document
      while !rest.isEmpty {
        let piece = rest.prefix(room)
        if let last = item.last, last.upperBound == piece.lowerBound {
          item[item.count - 1] = last.lowerBound..<piece.upperBound
        } else {
          item.append(piece)
        }
        rest = rest.dropFirst(piece.count)
        room -= piece.count
        if room > 0 { continue }
        items.append(item)
        (item, room) = ([], length)
      }
    }
    return item.isEmpty ? items : items + [item]
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
