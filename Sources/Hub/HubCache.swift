import Checkpoints
import Foundation

/// One repository in the cache, in the layout of Python's `huggingface_hub`: `blobs` contains files named by their hash,
/// `snapshots/COMMIT` links to them by file name, and `refs/REVISION` contains the commit of a branch or tag.
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

  func prepare() throws(HubError) {
    try createFolder(folder.appending(path: "blobs"))
    try createFolder(locks)
  }

  /// Links the snapshot's file to the blob. The link is relative, so the cache can be moved.
  func link(_ path: String, to etag: String, in commit: String) throws(HubError) {
    let target = String(repeating: "../", count: path.split(separator: "/").count + 1) + "blobs/" + etag
    let link = snapshot(commit).appending(path: path)
    try createFolder(link.deletingLastPathComponent())
    let temporary = link.deletingLastPathComponent().appending(path: ".\(UUID().uuidString).tmp")
    do {
      try FileManager.default.createSymbolicLink(atPath: temporary.path, withDestinationPath: target)
    } catch {
      throw HubError(link.path, "cannot create a symbolic link. Set HF_HOME to a file system that supports links.")
    }
    if rename(temporary.path, link.path) != 0 {
      let cause = String(cString: strerror(errno))
      try? FileManager.default.removeItem(at: temporary)
      throw HubError(link.path, "cannot create a symbolic link (\(cause)). Remove what is in its place.")
    }
  }

  /// Records the commit of a branch or tag.
  func remember(_ revision: String, as commit: String) throws(HubError) {
    if revision == commit { return }
    let ref = folder.appending(path: "refs").appending(path: revision)
    try createFolder(ref.deletingLastPathComponent())
    do {
      try AtomicFile.write(commit, to: ref)
    } catch {
      throw HubError(ref.path, error.reason)
    }
  }

  /// The snapshot of a revision, if every shard in its index exists.
  func completeSnapshot(of revision: String) -> URL? {
    let ref = folder.appending(path: "refs").appending(path: revision)
    let commit = (try? String(contentsOf: ref, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    let name = commit ?? revision
    guard isSafeRelativePath(name), !name.contains("/") else { return nil }
    let snapshot = snapshot(name)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: snapshot.path)) ?? []
    let exists = { (name: String) in FileManager.default.fileExists(atPath: snapshot.appending(path: name).path) }
    guard !names.isEmpty, names.allSatisfy(exists) else { return nil }
    let index = snapshot.appending(path: "model.safetensors.index.json")
    if !names.contains("model.safetensors"), exists(index.lastPathComponent) {
      guard (try? SafetensorsCheckpoint(contentsOf: index)) != nil else { return nil }
    }
    return snapshot
  }

  private func createFolder(_ folder: URL) throws(HubError) {
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw HubError(folder.path, "cannot create this folder. Check the permissions, or set HF_HOME to another folder.")
    }
  }
}

/// An exclusive file lock, compatible with Python's `filelock`, so that two processes don't download the same blob.
final class FileLock: Sendable {
  private let descriptor: Int32

  /// Waits until the lock is free.
  init(_ url: URL) async throws(HubError) {
    descriptor = open(url.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    if descriptor < 0 {
      throw HubError(url.path, "cannot create this file: \(String(cString: strerror(errno))). Check the permissions.")
    }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // Some network file systems have no locks. Downloading a blob twice is better than failing there.
      guard errno == EWOULDBLOCK || errno == EINTR else { return }
      do {
        try await Task.sleep(for: .milliseconds(200))
      } catch {
        throw HubError(url.path, "the download was canceled. Run the command again to resume it.")
      }
    }
  }

  deinit { close(descriptor) }
}
