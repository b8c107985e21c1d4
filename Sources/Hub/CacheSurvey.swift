import Diagnostics
import Essentials

/// What the shared cache of models and datasets holds, and how much of it nothing refers to.
public struct CacheSurvey: Sendable, Hashable {
  /// A repository in the cache.
  public struct Repository: Sendable, Hashable {
    /// `org/name`.
    public let name: String
    /// Whether it is a dataset.
    public let isDataset: Bool
    /// The size of its files in bytes.
    public internal(set) var byteCount = 0
    /// The size of unfinished downloads, and of files that only revisions without a branch or tag need.
    public internal(set) var staleByteCount = 0
  }

  /// The folder of the cache.
  public let folder: String
  /// The repositories, the largest first.
  public private(set) var repositories: [Repository] = []

  /// The size of all files in bytes.
  public var byteCount: Int { repositories.reduce(0) { $0 + $1.byteCount } }
  /// The size of all stale files in bytes.
  public var staleByteCount: Int { repositories.reduce(0) { $0 + $1.staleByteCount } }

  /// Looks through the cache that the environment selects.
  /// - Throws: `SwiftletError` if a variable has an invalid value.
  public init(environment: [String: String]) throws(SwiftletError) {
    let root = try HubSettings(environment: environment, service: nil).cache
    folder = root.path
    for name in (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? [] {
      for (prefix, isDataset) in [("models--", false), ("datasets--", true)] where name.hasPrefix(prefix) {
        let title = String(name.dropFirst(prefix.count)).split(separator: "--").joined(separator: "/")
        repositories.append(Self.survey(root.appending(path: name), title, isDataset))
      }
    }
    repositories.sort { ($1.byteCount, $0.name) < ($0.byteCount, $1.name) }
  }

  private static func survey(_ folder: URL, _ name: String, _ isDataset: Bool) -> Repository {
    var repository = Repository(name: name, isDataset: isDataset)
    let needed = neededBlobs(folder)
    let blobs = folder.appending(path: "blobs").path
    for blob in (try? FileManager.default.contentsOfDirectory(atPath: blobs)) ?? [] {
      let size = fileSize(atPath: blobs + "/" + blob) ?? 0
      repository.byteCount += size
      if !needed.contains(blob) { repository.staleByteCount += size }
    }
    return repository
  }

  /// The names of the blobs that the snapshots of branches and tags link to.
  private static func neededBlobs(_ folder: URL) -> Set<String> {
    let refs = folder.appending(path: "refs").path
    var commits: Set<String> = []
    FileManager.default.forEachPath(in: refs) { path in
      if let file = try? OpenFile(refs + "/" + path), let bytes = try? file.read(upTo: 100) {
        commits.insert(String(decoding: bytes, as: UTF8.self).trimmed)
      }
    }
    let snapshots = folder.appending(path: "snapshots").path
    // A revision that was named by its commit has no reference.
    let all = (try? FileManager.default.contentsOfDirectory(atPath: snapshots)) ?? []
    var blobs: Set<String> = []
    for commit in commits.isEmpty ? Set(all) : commits {
      FileManager.default.forEachPath(in: snapshots + "/" + commit) { path in
        if let target = try? FileManager.default.destinationOfSymbolicLink(
          atPath: snapshots + "/" + commit + "/" + path)
        {
          blobs.insert(String(target.split(separator: "/").last ?? ""))
        }
      }
    }
    return blobs
  }
}
