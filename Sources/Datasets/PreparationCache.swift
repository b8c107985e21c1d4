import Foundation
import OrderedJSON

/// Prepared training sets kept on disk, so that the same rows are not tokenized twice.
///
/// A set is found again only under the same rows, tokenizer, template and options. The folder can be deleted at any
/// time; a file in it that is damaged counts as missing.
public struct PreparationCache: Sendable {
  private let folder: URL

  /// A cache in `folder`, which is made when the first set is stored.
  public init(folder: String) { self.folder = URL(fileURLWithPath: folder) }

  private static let version = "swiftlet prepared rows 1"

  /// The key of rows under options and a tokenizer; `nil` if the tokenizer has no identity.
  /// - Throws: `DataError` for the first row that cannot be read.
  static func key(
    _ rows: any RowSource, _ options: PreparationOptions, _ tokenizer: RowTokenizer
  ) throws(DataError) -> String? {
    guard let identity = tokenizer.identity?() else { return nil }
    var hash = ContentHash()
    hash.update(version)
    hash.update(identity)
    var sameForAnyThreads = options
    sameForAnyThreads.threads = nil
    hash.update("\(sameForAnyThreads)")
    for index in 0..<rows.count { hash.update(JSONValue.object(try rows.row(at: index)).text(.compact)) }
    return hash.hexadecimal
  }

  private func file(_ key: String) -> URL { folder.appendingPathComponent("\(key).rows") }

  /// The set stored under `key`, if there is one and it is whole.
  func load(_ key: String) -> (set: TrainingSet, report: PreparationReport)? {
    guard let data = try? Data(contentsOf: file(key)) else { return nil }
    var reader = StoredReader(Array(data))
    guard reader.isWhole, reader.text() == Self.version, let text = reader.text(),
      let json = try? JSONValue(parsing: text), let report = PreparationReport(json),
      let ids = reader.shortNumbers(), let labels = reader.shortNumbers(), let starts = reader.numbers(),
      let rows = reader.numbers(), let counts = reader.numbers(), let bounds = reader.numbers()
    else { return nil }
    var set = TrainingSet()
    (set.ids, set.labels, set.documentStarts, set.rows) = (ids, labels, starts, rows)
    var next = 0
    for count in counts {
      var pieces: [Range<Int>] = []
      for _ in 0..<max(0, count) {
        guard next + 1 < bounds.count, bounds[next] <= bounds[next + 1] else { return nil }
        pieces.append(bounds[next]..<bounds[next + 1])
        next += 2
      }
      set.items.append(pieces)
    }
    return set.isConsistent ? (set, report) : nil
  }

  /// Stores a set. A cache that cannot be written costs time, not the run, so failing is silent.
  func store(_ set: TrainingSet, _ report: PreparationReport, under key: String) {
    var writer = StoredWriter()
    writer.text(Self.version)
    writer.text(report.json.text(.compact))
    writer.shortNumbers(set.ids)
    writer.shortNumbers(set.labels)
    writer.numbers(set.documentStarts)
    writer.numbers(set.rows)
    writer.numbers(set.items.map(\.count))
    writer.numbers(set.items.flatMap { $0.flatMap { [$0.lowerBound, $0.upperBound] } })
    let temporary = folder.appendingPathComponent(".\(key).\(UUID().uuidString)")
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Data(writer.sealed()).write(to: temporary)
      let handle = try FileHandle(forUpdating: temporary)
      try handle.synchronize()
      try handle.close()
      if rename(temporary.path, file(key).path) == 0 { return }
    } catch {}
    try? FileManager.default.removeItem(at: temporary)
  }
}

extension TrainingSet {
  /// Whether the arrays fit each other.
  fileprivate var isConsistent: Bool {
    labels.count == ids.count && documentStarts.count == rows.count + 1 && documentStarts.first == 0
      && documentStarts.last == ids.count && zip(documentStarts, documentStarts.dropFirst()).allSatisfy { $0 <= $1 }
      && items.allSatisfy { $0.allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= ids.count } }
  }
}

/// Arrays one after the other, each behind its count, lowest byte first; at the end a fingerprint of all.
private struct StoredWriter {
  private var bytes: [UInt8] = []

  mutating func number(_ value: Int) {
    for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  mutating func numbers(_ values: [Int]) {
    number(values.count)
    for value in values { number(value) }
  }

  mutating func shortNumbers(_ values: [Int32]) {
    number(values.count)
    for value in values {
      for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
  }

  mutating func text(_ text: String) {
    number(text.utf8.count)
    bytes += text.utf8
  }

  func sealed() -> [UInt8] {
    var hash = ContentHash()
    hash.update(bytes)
    return bytes + Array(hash.hexadecimal.utf8)
  }
}

/// Reads what `StoredWriter` wrote; `nil` where there is less than there should be.
private struct StoredReader {
  private let bytes: [UInt8]
  private var position = 0
  /// Whether the fingerprint at the end fits.
  let isWhole: Bool

  init(_ file: [UInt8]) {
    bytes = file.dropLast(32)
    var hash = ContentHash()
    hash.update(bytes)
    isWhole = file.suffix(32).elementsEqual(hash.hexadecimal.utf8)
  }

  private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count >= 0, count <= bytes.count - position else { return nil }
    defer { position += count }
    return bytes[position..<position + count]
  }

  private mutating func word(_ size: Int) -> UInt64? {
    take(size).map { $0.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
  }

  private mutating func count(of size: Int) -> Int? {
    guard let count = word(8).map({ Int(truncatingIfNeeded: $0) }), count >= 0,
      count <= (bytes.count - position) / size
    else { return nil }
    return count
  }

  mutating func numbers() -> [Int]? {
    guard let count = count(of: 8) else { return nil }
    return (0..<count).compactMap { _ in word(8).map { Int(truncatingIfNeeded: $0) } }
  }

  mutating func shortNumbers() -> [Int32]? {
    guard let count = count(of: 4) else { return nil }
    return (0..<count).compactMap { _ in word(4).map { Int32(truncatingIfNeeded: $0) } }
  }

  mutating func text() -> String? {
    guard let count = count(of: 1) else { return nil }
    return take(count).flatMap { String(validating: $0, as: UTF8.self) }
  }
}
