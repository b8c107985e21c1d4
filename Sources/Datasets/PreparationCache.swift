import Diagnostics
import Checkpoints
import Essentials

/// A cache of prepared training sets on disk, so that the same rows are not tokenized twice and the tokens of a large
/// set need not be in memory.
///
/// The key of a set covers the bytes of the data, the steps, tokenizer, template and options, and the program itself.
/// The folder can be deleted at any time. Damaged files count as missing; files that were not used for 30 days are
/// removed.
public struct PreparationCache: Sendable {
  /// The folder with the sets.
  package let folder: URL
  private let minimumRows: Int
  private static let daysKept = 30.0

  /// Creates a cache in `folder`, which is created when the first set is stored.
  /// - Parameter minimumRows: sets with fewer rows are not cached, because preparing them is faster than looking them
  ///   up.
  public init(folder: String, minimumRows: Int = 1000) {
    self.folder = URL(fileURLWithPath: folder)
    self.minimumRows = minimumRows
  }

  /// The user's cache: `SWIFTLET_CACHE`, else `swiftlet` in `XDG_CACHE_HOME`, else `~/.cache/swiftlet`.
  /// - Returns: `nil` if `SWIFTLET_CACHE` is empty, which disables the cache.
  public static func standard(environment: [String: String]) -> PreparationCache? {
    if let folder = environment["SWIFTLET_CACHE"] {
      return folder.isEmpty ? nil : PreparationCache(folder: folder + "/prepared")
    }
    let home = environment["HOME"].map { $0 + "/.cache" } ?? FileManager.default.temporaryDirectory.path
    let caches = environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home
    return PreparationCache(folder: caches + "/swiftlet/prepared")
  }

  /// The key of a set; `nil` if it should not be cached.
  /// - Throws: `SwiftletError` if rows cannot be read.
  func key(
    _ rows: any RowSource, _ options: PreparationOptions, _ tokenizer: RowTokenizer
  ) throws(SwiftletError) -> String? {
    guard rows.count >= minimumRows, let identity = tokenizer.identity?(), let program = Self.program else {
      return nil
    }
    var hash = ContentHash()
    hash.update(program)
    hash.update(identity)
    var options = options
    options.threads = nil  // does not affect the result
    hash.update("\(options)")
    hash.update(try rows.fingerprint())
    return hash.hexadecimal
  }

  /// The fingerprint of the running program: a new version may prepare rows differently.
  private static let program = ProgramFile.path.flatMap { ContentHash.ofFile($0) }

  private func file(_ key: String) -> URL { folder.appendingPathComponent("\(key).rows") }

  /// The set stored under `key`; `nil` if there is none or its file is damaged.
  /// - Parameter isNew: whether this process has just written it, so that its fingerprint need not be checked.
  func load(_ key: String, isNew: Bool = false) -> Preparation.Outcome? {
    guard let found = TrainingSetFile.open(file(key), key: key, isNew: isNew) else { return nil }
    try? FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: file(key).path)
    return found
  }

  /// A writer for the set of `key`, or the reason why the folder cannot be created or written.
  func writer(_ key: String) -> Result<TrainingSetFile.Writer, SwiftletError> {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      return .failure(
        SwiftletError.checkpoint(path: folder.path, reason: "cannot be created; set SWIFTLET_CACHE to another folder"))
    }
    removeUnused()
    return Result { () throws(SwiftletError) in try TrainingSetFile.Writer(file(key)) }
  }

  private func removeUnused() {
    let oldest = Date(timeIntervalSinceNow: -Self.daysKept * 86_400)
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] {
      let file = folder.appendingPathComponent(name)
      // Also removes temporary files of killed runs.
      guard ["rows", "tmp"].contains(file.pathExtension),
        let attributes = try? FileManager.default.attributesOfItem(atPath: file.path),
        let date = attributes[.modificationDate] as? Date, date < oldest
      else { continue }
      try? FileManager.default.removeItem(at: file)
    }
  }
}
