import Checkpoints
import Foundation

/// One repository in the cache, laid out as Python's `huggingface_hub` does: `blobs` holds contents under their hashes,
/// `snapshots/COMMIT` links to them under their names, and `refs/REVISION` says which commit a branch or tag stood at.
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

  /// Whether the snapshot has the file; a link to a blob that is gone does not count.
  func has(_ path: String, in commit: String) -> Bool {
    FileManager.default.fileExists(atPath: snapshot(commit).appending(path: path).path)
  }

  func prepare() throws(HubError) {
    try createFolder(folder.appending(path: "blobs"))
    try createFolder(locks)
  }

  /// Makes the snapshot's file a relative link to the blob, so that the cache can be moved.
  func link(_ path: String, to etag: String, in commit: String) throws(HubError) {
    let target = String(repeating: "../", count: path.split(separator: "/").count + 1) + "blobs/" + etag
    let link = snapshot(commit).appending(path: path)
    try createFolder(link.deletingLastPathComponent())
    let temporary = link.deletingLastPathComponent().appending(path: ".\(UUID().uuidString).tmp")
    do {
      try FileManager.default.createSymbolicLink(atPath: temporary.path, withDestinationPath: target)
    } catch {
      throw HubError(link.path, "could not be linked; choose a file system with links by HF_HOME")
    }
    if rename(temporary.path, link.path) != 0 {
      let cause = String(cString: strerror(errno))
      try? FileManager.default.removeItem(at: temporary)
      throw HubError(link.path, "could not be linked (\(cause)); remove what stands there")
    }
  }

  /// Remembers which commit a branch or tag stands at.
  func remember(_ revision: String, as commit: String) throws(HubError) {
    if revision == commit { return }
    let ref = folder.appending(path: "refs").appending(path: revision)
    try createFolder(ref.deletingLastPathComponent())
    do {
      try AtomicFile.write(commit, to: ref)
    } catch {
      throw HubError(error.path, error.reason)
    }
  }

  /// The snapshot of a revision if it is there and no shard that its index lists is missing.
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
      throw HubError(folder.path, "could not be created; check the permissions or choose another folder by HF_HOME")
    }
  }
}

/// An exclusive lock on a file, as Python's `filelock` takes it, so that no two programs load one blob at a time.
final class FileLock: Sendable {
  private let descriptor: Int32

  /// Waits until the lock is free.
  init(_ url: URL) async throws(HubError) {
    descriptor = open(url.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    if descriptor < 0 {
      throw HubError(url.path, "could not be created: \(String(cString: strerror(errno))); check the permissions")
    }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // Some network file systems have no locks; two downloads of one blob are the smaller evil there.
      guard errno == EWOULDBLOCK || errno == EINTR else { return }
      do {
        try await Task.sleep(for: .milliseconds(200))
      } catch {
        throw HubError(url.path, "was waited for when the download was cancelled; start it again")
      }
    }
  }

  deinit { close(descriptor) }
}
