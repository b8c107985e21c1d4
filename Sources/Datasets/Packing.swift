/// How documents are packed into sequences of a fixed length.
public enum PackingStrategy: String, Sendable, CaseIterable, Codable {
  /// Best-fit decreasing: whole documents, longest first, each into the fullest pack with enough room. Tokens of a
  /// document beyond the length are lost.
  case bfd
  /// Like `bfd`, but longer documents are first cut into pieces, so that no token is lost.
  case bfdSplit = "bfd_split"
  /// All documents concatenated and cut at every multiple of the length. Attention and positions continue across
  /// documents.
  case wrapped
}

extension TrainingSet {
  /// TRL packs in `datasets.map(batched=True)`, so only documents of the same 1000 rows are packed together.
  static let packingWindow = 1000

  /// The same documents in packs of up to `length` tokens, exactly as `trl.pack_dataset` makes them.
  ///
  /// Best-fit decreasing follows "Fewer Truncations Improve Language Modeling" (Ding et al. 2024).
  /// - Parameter order: the indices of the documents in the order in which they are packed; `nil` for their own order.
  public func packed(_ strategy: PackingStrategy, length: Int, order: [Int]? = nil) -> TrainingSet {
    var result = self
    guard length > 0 else { return result }
    let length = min(length, max(1, documentStarts[documentCount]))  // a longer length would not change the result
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

  /// Concatenates documents and cuts wherever a pack is full. Adjacent pieces are merged.
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
    // The bins by the room they have left, oldest first, and the set of these rooms.
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

/// A set of positive integers that finds its smallest element at or above a bound in logarithmic time.
private struct RoomTree {
  private let leafCount: Int
  /// A binary tree in heap order. Each node has the largest element of its subtree, 0 if there is none.
  private var largest: [Int]

  init(largest bound: Int) {
    var leafCount = 1
    while leafCount < bound { leafCount *= 2 }
    self.leafCount = leafCount
    largest = Array(repeating: 0, count: 2 * leafCount)
  }

  mutating func insert(_ number: Int) { set(number, to: number) }
  mutating func remove(_ number: Int) { set(number, to: 0) }

  private mutating func set(_ number: Int, to value: Int) {
    var node = leafCount + number - 1
    largest[node] = value
    while node > 1 {
      node /= 2
      largest[node] = max(largest[2 * node], largest[2 * node + 1])
    }
  }

  func smallest(atLeast number: Int) -> Int? {
    guard largest[1] >= number else { return nil }
    var node = 1
    while node < leafCount { node = largest[2 * node] >= number ? 2 * node : 2 * node + 1 }
    return largest[node]
  }
}
