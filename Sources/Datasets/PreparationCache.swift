import Diagnostics
import Checkpoints
import Foundation

/// Prepared training sets kept on disk: the same rows are not tokenized twice, and the tokens of a large set need not be
/// in memory.
///
/// A set is found again only under the same bytes of data, steps, tokenizer, template and options, and by the same
/// program: all of them are part of its name. The folder can be deleted at any time. A file in it that is not as it was
/// written counts as missing; one that nobody asked for in 30 days is removed.
public struct PreparationCache: Sendable {
  /// Where the sets are.
  package let folder: URL
  private let leastRows: Int
  private static let daysKept = 30.0

  /// A cache in `folder`, which is made when the first set is stored.
  /// - Parameter leastRows: sets of fewer rows are quicker made than looked up, so they are left out.
  public init(folder: String, leastRows: Int = 1000) {
    self.folder = URL(fileURLWithPath: folder)
    self.leastRows = leastRows
  }

  /// The user's cache: `SWIFTLET_CACHE`, else `swiftlet` in `XDG_CACHE_HOME`, else `~/.cache/swiftlet`.
  /// - Returns: `nil` if `SWIFTLET_CACHE` is set to nothing.
  public static func standard(environment: [String: String]) -> PreparationCache? {
    if let folder = environment["SWIFTLET_CACHE"] {
      return folder.isEmpty ? nil : PreparationCache(folder: folder + "/prepared")
    }
    let home = environment["HOME"].map { $0 + "/.cache" } ?? FileManager.default.temporaryDirectory.path
    let caches = environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home
    return PreparationCache(folder: caches + "/swiftlet/prepared")
  }

  /// The key of rows under options and a tokenizer; `nil` if the set is not to be cached.
  /// - Throws: `SwiftletError` for rows that cannot be read.
  func key(
    _ rows: any RowSource, _ options: PreparationOptions, _ tokenizer: RowTokenizer
  ) throws(SwiftletError) -> String? {
    guard rows.count >= leastRows, let identity = tokenizer.identity?(), let program = Self.program else { return nil }
    var hash = ContentHash()
    hash.update(program)
    hash.update(identity)
    var sameForAnyThreads = options
    sameForAnyThreads.threads = nil
    hash.update("\(sameForAnyThreads)")
    hash.update(try rows.fingerprint())
    return hash.hexadecimal
  }

  /// The fingerprint of the running program: a new version may prepare rows otherwise.
  private static let program = Bundle.main.executablePath.flatMap { ContentHash.ofFile($0) }

  private func file(_ key: String) -> URL { folder.appendingPathComponent("\(key).rows") }

  /// The set stored under `key`, if there is one and it is whole.
  /// - Parameter isNew: whether this process has just written it, and need not read all of it again.
  func load(_ key: String, isNew: Bool = false) -> Preparation.Outcome? {
    guard let found = PreparedFile.open(file(key), key: key, isNew: isNew) else { return nil }
    try? FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: file(key).path)
    return found
  }

  /// A writer of the set of `key`, unless the folder cannot be made or written.
  func writer(_ key: String) -> Result<PreparedFile.Writer, SwiftletError> {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      return .failure(
        SwiftletError.checkpoint(path: folder.path, reason: "cannot be made; set SWIFTLET_CACHE to another folder"))
    }
    removeForgotten()
    return Result { () throws(SwiftletError) in try PreparedFile.Writer(file(key)) }
  }

  private func removeForgotten() {
    let oldest = Date(timeIntervalSinceNow: -Self.daysKept * 86_400)
    let keys: [URLResourceKey] = [.contentModificationDateKey]
    for file in (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: keys)) ?? [] {
      // Temporary files of runs that were killed go as well.
      guard ["rows", "tmp"].contains(file.pathExtension),
        let date = try? file.resourceValues(forKeys: Set(keys)).contentModificationDate, date < oldest
      else { continue }
      try? FileManager.default.removeItem(at: file)
    }
  }
}
