import Diagnostics
import Essentials

/// What the cache has of a revision, judged by the files needed.
struct CachedSnapshot {
  /// The snapshot folder, if it has every file needed.
  let complete: URL?
  /// The same, or a folder with some of the files if nothing tells whether any are missing: Python's libraries cache
  /// single files without recording which others exist.
  let bestEffort: URL?
  /// A file or the like that the snapshot lacks; `nil` if it lacks none, or there is no snapshot.
  let lack: String?

  init(cache: HubCache, repository: RepositoryID, revision: String, files: FileSelection) {
    let gap: SnapshotGap
    var folder: URL?
    if let commit = cache.commit(of: revision) {
      let present = cache.files(in: commit)
      folder = present.isEmpty ? nil : cache.snapshot(commit)
      gap = Self.gap(present, commit, cache, repository, files)
    } else {
      gap = .missing("the files")
    }
    complete = gap == .none ? folder : nil
    if case .missing(let name) = gap {
      bestEffort = nil
      lack = folder == nil ? nil : name
    } else {
      bestEffort = folder
      lack = nil
    }
  }

  private static func gap(
    _ present: Set<String>, _ commit: String, _ cache: HubCache, _ repository: RepositoryID, _ files: FileSelection
  ) -> SnapshotGap {
    let listed = cache.recordedListing(of: commit)
    guard let chosen = try? files.chosen(of: listed ?? present.sorted(), in: repository) else {
      return .missing("the files")
    }
    var needed = chosen
    if let index = files.index(of: chosen) {
      guard let shards = cache.shards(in: index, of: commit) else { return .missing(index) }
      needed += shards
    }
    if let name = needed.first(where: { !present.contains($0) }) { return .missing(name.escapedLine(limit: 100)) }
    return listed == nil ? files.gap(in: present) : .none
  }
}
