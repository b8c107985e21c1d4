import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON

/// One repository in the cache, in the layout of Python's `huggingface_hub`: `blobs` contains files named by their
/// hash, `snapshots/COMMIT` links to them by file name, and `refs/REVISION` contains the commit of a branch or tag.
/// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
struct HubCache: Sendable {
  let folder: URL
  private let locks: URL

  init(root: URL, repository: RepositoryID, kind: RepositoryKind) {
    let name = repository.folderName(kind)
    folder = root.appending(path: name)
    locks = root.appending(path: ".locks").appending(path: name)
  }

  func blob(_ etag: String) -> URL { folder.appending(path: "blobs").appending(path: etag) }

  func lock(_ etag: String) -> URL { locks.appending(path: "\(etag).lock") }

  func snapshot(_ commit: String) -> URL { folder.appending(path: "snapshots").appending(path: commit) }

  /// Whether the snapshot has the file. A dangling link doesn't count.
  func has(_ path: String, in commit: String) -> Bool {
    FileManager.default.fileExists(atPath: snapshot(commit).appending(path: path).path)
  }

  func prepare() throws(SwiftletError) {
    try createFolder(folder.appending(path: "blobs"))
    try createFolder(locks)
  }

  /// Links the snapshot's file to the blob. The link is relative, so the cache can be moved.
  func link(_ path: String, to etag: String, in commit: String) throws(SwiftletError) {
    let target = String(repeating: "../", count: path.split(separator: "/").count + 1) + "blobs/" + etag
    let link = snapshot(commit).appending(path: path)
    try createFolder(link.deletingLastPathComponent())
    let temporary = link.deletingLastPathComponent().appending(path: ".\(UUID().uuidString).tmp")
    do {
      try FileManager.default.createSymbolicLink(atPath: temporary.path, withDestinationPath: target)
    } catch {
      throw SwiftletError.hub(
        link.path, "cannot create a symbolic link; set HF_HOME to a file system that supports links")
    }
    if rename(temporary.path, link.path) != 0 {
      let cause = String(cString: strerror(errno))
      try? FileManager.default.removeItem(at: temporary)
      throw SwiftletError.hub(link.path, "cannot create a symbolic link (\(cause)); remove what is in its place")
    }
  }

  /// Records the commit of a branch or tag.
  func remember(_ revision: String, as commit: String) throws(SwiftletError) {
    if revision == commit { return }
    let ref = folder.appending(path: "refs").appending(path: revision)
    try createFolder(ref.deletingLastPathComponent())
    do {
      try AtomicFile.write(commit, to: ref)
    } catch {
      throw SwiftletError.hub(ref.path, error.reason)
    }
  }

  /// The commit of a revision: from the cached branch or tag, or the revision itself.
  func commit(of revision: String) -> String? {
    let ref = folder.appending(path: "refs").appending(path: revision)
    let known = (try? RegularFile.text(of: ref, sizeLimit: 4096))?.trimmed
    let commit = known ?? revision
    return isSafeRelativePath(commit) && !commit.contains("/") ? commit : nil
  }

  /// The files of a snapshot by their paths. Dangling links don't count.
  func files(in commit: String) -> Set<String> {
    let root = snapshot(commit)
    var paths: Set<String> = []
    FileManager.default.forEachPath(in: root.path) { path in
      let file = root.appending(path: path).path
      if FileManager.default.fileExists(atPath: file), !FileManager.default.isFolder(file) { paths.insert(path) }
    }
    return paths
  }

  /// Records which files a commit has, so that a later call can tell without the service what a snapshot lacks.
  /// Python's libraries ignore this file.
  func recordListing(_ names: [String], of commit: String) throws(SwiftletError) {
    let record = listing(commit)
    try createFolder(record.deletingLastPathComponent())
    let names = JSONValue.array(names.sorted().map { .string($0) })
    do {
      try AtomicFile.write(names.text(), to: record)
    } catch {
      throw SwiftletError.hub(record.path, error.reason)
    }
  }

  /// The files that a commit has, if they have been recorded.
  func recordedListing(of commit: String) -> [String]? {
    guard let content = try? RegularFile.contents(of: listing(commit)), let value = try? JSONValue(parsing: content)
    else { return nil }
    return value.array?.compactMap(\.string)
  }

  private func listing(_ commit: String) -> URL {
    folder.appending(path: ".swiftlet").appending(path: "\(commit).json")
  }

  /// The shards that the snapshot's weight index lists, sorted; `nil` if the index is missing or malformed.
  func shards(in index: String, of commit: String) -> [String]? {
    guard let content = try? RegularFile.contents(of: snapshot(commit).appending(path: index)),
      let map = try? JSONValue(parsing: Array(content))["weight_map"]?.object
    else { return nil }
    return Set(map.members.compactMap(\.value.string)).sorted()
  }

  private func createFolder(_ folder: URL) throws(SwiftletError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.hub(
        folder.path, "cannot create this folder; check the permissions, or set HF_HOME to another folder")
    }
  }
}

/// An exclusive file lock, compatible with Python's `filelock`, so that two processes don't download the same blob.
final class FileLock: Sendable {
  private let descriptor: Int32

  /// Waits until the lock is free.
  init(_ url: URL) async throws(SwiftletError) {
    descriptor = open(url.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    if descriptor < 0 {
      throw SwiftletError.hub(
        url.path, "cannot create this file: \(String(cString: strerror(errno))); check the permissions")
    }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // Some network file systems have no locks. Downloading a blob twice is better than failing there.
      guard errno == EWOULDBLOCK || errno == EINTR else { return }
      do {
        try await Task.sleep(for: .milliseconds(200))
      } catch {
        throw SwiftletError.hub(url.path, "the download was canceled; run the command again to resume it")
      }
    }
  }

  deinit { close(descriptor) }
}
