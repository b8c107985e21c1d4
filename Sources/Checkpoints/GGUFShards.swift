import Diagnostics
import Essentials

/// The files that `llama-gguf-split` makes of one: `NAME-00001-of-00003.gguf` and so on. The first has the metadata.
struct GGUFShards {
  /// The metadata that belongs to a shard.
  static let keys = ["split.no", "split.count", "split.tensors.count"]
  private static let limit = 99_999

  private let count: Int
  /// The shards after the first.
  let others: [URL]

  /// `nil` for a file that is whole.
  /// - Throws: `SwiftletError` if this is not the first shard, or its name doesn't tell the others'.
  init?(_ metadata: GGUFMetadata, of url: URL) throws(SwiftletError) {
    guard let count = metadata["split.count"]?.integer, count > 1 else { return nil }
    self.count = count
    let ending = Self.ending(1, of: count)
    guard metadata["split.no"]?.integer == 0, count <= Self.limit else {
      throw SwiftletError.checkpoint(path: url.path, reason: "is one of \(count) shards; open the first, *\(ending)")
    }
    let name = url.lastPathComponent
    guard name.hasSuffix(ending) else {
      throw SwiftletError.checkpoint(
        path: url.path,
        reason: "is the first of \(count) shards, whose names must end with \(ending); give them their names again")
    }
    let stem = String(name.dropLast(ending.count))
    others = (2...count).map { number in
      url.deletingLastPathComponent().appendingPathComponent(stem + Self.ending(number, of: count))
    }
  }

  private static func ending(_ number: Int, of count: Int) -> String {
    func digits(_ number: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, 5 - text.count)) + text
    }
    return "-\(digits(number))-of-\(digits(count)).gguf"
  }

  /// Throws if the file at `path` isn't shard `number`, counted from 0.
  func check(_ metadata: GGUFMetadata, number: Int, path: String) throws(SwiftletError) {
    guard metadata["split.count"]?.integer == count, metadata["split.no"]?.integer == number else {
      throw SwiftletError.checkpoint(
        path: path, reason: "is not shard \(number + 1) of \(count); download all shards again")
    }
  }
}
