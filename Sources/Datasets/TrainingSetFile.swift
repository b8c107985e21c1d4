import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON

/// The file format of a prepared training set: id and label of each token, the report, the offsets of documents and
/// items, and a fingerprint of everything before it.
///
/// Little-endian. The last 40 bytes are the offset of the report and the 32 hexadecimal digits of the fingerprint.
enum TrainingSetFile {
  fileprivate static let trailer = 8 + 32

  /// Opens the file that was written with `key`.
  /// - Parameter isNew: whether this process has just written the file, so that its fingerprint need not be checked.
  /// - Returns: `nil` if the file is missing or damaged.
  static func open(_ url: URL, key: String, isNew: Bool) -> Preparation.Outcome? {
    guard let file = try? MappedFile(url), file.byteCount >= trailer else { return nil }
    let end = file.byteCount - trailer
    let digits = file.numbers(UInt8.self, at: end + 8, count: 32)
    if !isNew {
      guard let hash = ContentHash.ofFile(url.path, byteCount: end + 8), digits.elementsEqual(hash.utf8) else {
        return nil
      }
    }
    let offset = file.number(Int.self, at: end)
    guard offset >= 0, offset <= end, offset % 8 == 0 else { return nil }
    var reader = Reader(file: file, position: offset, end: end)
    guard let text = reader.numbers(UInt8.self), let json = try? JSONValue(parsing: text),
      json["key"]?.string == key, let report = json["report"].flatMap({ PreparationReport($0) }),
      let starts = reader.numbers(Int.self), let rows = reader.numbers(Int.self),
      let words = reader.numbers(UInt64.self), let lossMask = LossMask(words: words, count: offset / 8),
      let counts = reader.numbers(Int.self), let bounds = reader.numbers(Int.self),
      let values = reader.numbers(UInt32.self), values.isEmpty || values.count == rows.count
    else { return nil }
    var set = TrainingSet()
    set.ids = TokenArray(file, offset: 0, count: offset / 8)
    set.labels = TokenArray(file, offset: 4, count: offset / 8)
    (set.documentStarts, set.rows, set.lossMask) = (starts, rows, lossMask)
    set.values = values.map { Float(bitPattern: $0) }
    set.joinsPieces = json["joins_pieces"]?.bool ?? false
    if let least = json["least_id"]?.integer, let greatest = json["greatest_id"]?.integer, least <= greatest {
      set.idBounds = Int32(clamping: least)...Int32(clamping: greatest)
    }
    set.items.reserveCapacity(counts.count)
    var next = 0
    for count in counts {
      guard count >= 0, count <= (bounds.count - next) / 2 else { return nil }
      set.items.append((0..<count).map { bounds[next + 2 * $0]..<bounds[next + 2 * $0 + 1] })
      next += 2 * count
    }
    return (set, report)
  }

  /// Writes a file: tokens as they come, everything else at the end.
  struct Writer {
    private let file: AtomicFile
    private var hash = ContentHash()
    private var pending: [Int32] = []
    private var byteCount = 0
    private static let mostPending = 1 << 18

    /// Creates a file that appears at `url` when it is complete. The folder must exist.
    init(_ url: URL) throws(SwiftletError) {
      file = try AtomicFile(replacing: url)
    }

    /// Appends the tokens of a document.
    mutating func append(_ example: Example) throws(SwiftletError) {
      for (id, label) in zip(example.ids, example.labels) {
        pending.append(id)
        pending.append(label)
      }
      if pending.count >= Self.mostPending { try flush() }
    }

    private mutating func flush() throws(SwiftletError) {
      try put(pending)
      pending.removeAll(keepingCapacity: true)
    }

    private mutating func put<Number: FixedWidthInteger>(_ numbers: [Number]) throws(SwiftletError) {
      try file.write(numbers)
      hash.update(numbers)
      byteCount += numbers.count * MemoryLayout<Number>.size
    }

    private mutating func putCounted<Number: FixedWidthInteger>(_ numbers: [Number]) throws(SwiftletError) {
      try put([numbers.count])
      try put(numbers)
    }

    /// Writes the rest and moves the file to its place.
    mutating func finish(_ set: TrainingSet, _ report: PreparationReport, key: String) throws(SwiftletError) {
      try flush()
      let offset = byteCount
      let bounds = set.idBounds.map { (Int($0.lowerBound), Int($0.upperBound)) }
      let about: JSONValue = [
        "key": .string(key), "joins_pieces": .bool(set.joinsPieces), "report": report.json,
        "least_id": bounds.map { .integer($0.0) } ?? .null, "greatest_id": bounds.map { .integer($0.1) } ?? .null,
      ]
      try putCounted(Array(about.text(.compact).utf8))
      try putCounted(set.documentStarts)
      try putCounted(set.rows)
      try putCounted(set.lossMask.words)
      try putCounted(set.items.map(\.count))
      try putCounted(set.items.flatMap { $0.flatMap { [$0.lowerBound, $0.upperBound] } })
      try putCounted(set.values.map(\.bitPattern))
      try put([offset])
      try file.write(Array(hash.hexadecimal.utf8))
      try file.commit()
    }
  }

  /// Reads arrays that are preceded by their counts; `nil` if the file is too short.
  private struct Reader {
    let file: MappedFile
    var position: Int
    let end: Int

    mutating func numbers<Number: FixedWidthInteger>(_: Number.Type) -> [Number]? {
      guard position + 8 <= end else { return nil }
      let count = file.number(Int.self, at: position)
      let size = MemoryLayout<Number>.size
      guard count >= 0, count <= (end - position - 8) / size else { return nil }
      defer { position += 8 + count * size }
      return file.numbers(at: position + 8, count: count)
    }
  }
}
