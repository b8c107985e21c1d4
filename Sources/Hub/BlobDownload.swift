import Diagnostics
import Essentials
import Synchronization

/// Downloads one blob into the cache: appends to `BLOB.incomplete`, resumes after a failure, checks, renames.
struct BlobDownload: Sendable {
  let connection: HubConnection
  let cache: HubCache
  let file: RemoteFile
  let etag: String
  /// Receives the number of bytes on disk.
  let progress: @Sendable (Int) -> Void

  private var incomplete: URL { cache.folder.appending(path: "blobs").appending(path: "\(etag).incomplete") }

  func run() async throws(SwiftletError) {
    let lock = try await FileLock(cache.lock(etag))
    defer { withExtendedLifetime(lock) {} }
    let blob = cache.blob(etag)
    // Another process, or another file with the same content, may have downloaded it in the meantime.
    if FileManager.default.fileExists(atPath: blob.path) { return }
    var mismatches = 0
    // Only bytes never seen before count as progress: a server that lies about the size must not keep us forever.
    var furthest = 0
    try await connection.retrying { () async throws(AttemptFailure) in
      try await fetch(&furthest)
      if try await blocking({ () throws(AttemptFailure) in try isIntact() }) { return }
      try? FileManager.default.removeItem(at: incomplete)
      mismatches += 1
      if mismatches < 2 { throw .temporary("\(file.path.escapedLine(limit: 200)) is corrupt") }
      throw .permanent(
        SwiftletError.hub(
          "\(connection.repository) \(file.path.escapedLine(limit: 200))",
          "the content does not match its hash, twice; try again later or from another endpoint"))
    }
    if rename(incomplete.path, blob.path) != 0 {
      throw SwiftletError.hub(
        blob.path, "cannot rename to this: \(String(cString: strerror(errno))); check the permissions")
    }
  }

  /// Downloads what is missing.
  private func fetch(_ furthest: inout Int) async throws(AttemptFailure) {
    let partial = try PartialFile(
      incomplete, name: file.path.escapedLine(limit: 200), size: file.size, progress: progress)
    let start = partial.count
    if let size = file.size, start == size { return }
    let known = max(furthest, start)
    do throws(AttemptFailure) {
      let head = try await connection.send(.get, file.url, from: start, into: partial)
      if head.status == 416 { try partial.restart() }
    } catch {
      furthest = max(furthest, partial.count)
      guard case .temporary(let cause, let after, _) = error else { throw error }
      throw .temporary(cause, after: after, hasProgressed: partial.count > known)
    }
    furthest = max(furthest, partial.count)
    try await blocking { () throws(AttemptFailure) in try partial.synchronize() }
    if let size = file.size, partial.count < size {
      throw .temporary(
        "\(file.path.escapedLine(limit: 200)) ended after \(partial.count) of \(size) bytes",
        hasProgressed: partial.count > known)
    }
  }

  private func isIntact() throws(AttemptFailure) -> Bool {
    guard let digest = file.digest else { return true }
    return try storing(incomplete) {
      try digest.matches(incomplete, size: fileSize(atPath: incomplete.path) ?? 0)
    }
  }
}

/// `BLOB.incomplete`: what has arrived so far, and the receiver that appends to it.
private final class PartialFile: HTTPResponseReceiver {
  private let url: URL
  private let name: String
  /// The size the finished file must have.
  private let size: Int?
  private let progress: @Sendable (Int) -> Void
  private let handle: OpenFile
  private let received: Mutex<Int>

  /// Opens the file, at its end. A file that is too long starts over.
  init(_ url: URL, name: String, size: Int?, progress: @escaping @Sendable (Int) -> Void) throws(AttemptFailure) {
    self.url = url
    self.name = name
    self.size = size
    self.progress = progress
    let (handle, count) = try storing(url) {
      if !FileManager.default.fileExists(atPath: url.path) { try Data().write(to: url) }
      let handle = try OpenFile(url.path, O_RDWR)
      var count = try handle.seekToEnd()
      if let size, count > size {
        try handle.truncate(to: 0)
        try handle.seek(to: 0)
        count = 0
      }
      return (handle, count)
    }
    self.handle = handle
    received = Mutex(count)
  }

  var count: Int { received.withLock { $0 } }

  /// Throws away what has arrived and fails the attempt.
  func restart() throws(AttemptFailure) {
    let position = count
    try discard()
    let total = size.map { " of \($0)" } ?? ""
    throw .temporary("\(name) cannot be resumed at byte \(position)\(total)")
  }

  func begin(_ head: HTTPResponseHead) throws(AttemptFailure) -> Bool {
    let offset = Self.offset(head)
    if offset == 0, count > 0 {
      try discard()
    } else if offset != count {
      try restart()
    }
    progress(count)
    return true
  }

  func receive(_ part: Data) throws(AttemptFailure) {
    let total = count + part.count
    if let size, total > size {
      try discard()
      throw .temporary("\(name) is larger than the expected \(size) bytes")
    }
    try storing(url) { try handle.write(part) }
    received.withLock { $0 = total }
    progress(total)
  }

  func synchronize() throws(AttemptFailure) { try storing(url) { try handle.synchronize() } }

  private func discard() throws(AttemptFailure) {
    try storing(url) {
      try handle.truncate(to: 0)
      try handle.seek(to: 0)
    }
    received.withLock { $0 = 0 }
  }

  /// Where in the file the body starts: 0 unless the server grants a range.
  private static func offset(_ head: HTTPResponseHead) -> Int? {
    guard head.status == 206 else { return 0 }
    guard let range = head["Content-Range"], range.hasPrefix("bytes ") else { return nil }
    return Int(range.dropFirst(6).prefix { $0 != "-" })
  }
}

/// Errors of the local disk end the download; a retry would meet them again.
private func storing<Value>(_ url: URL, _ body: () throws -> Value) throws(AttemptFailure) -> Value {
  do {
    return try body()
  } catch let error as SwiftletError {
    throw .permanent(error)
  } catch {
    let cause = (error as? FileFailure)?.reason ?? "\(error)"
    throw .permanent(
      SwiftletError.hub(
        url.path,
        "cannot be written (\(cause.escapedLine(limit: 200))); free disk space, or set HF_HOME to another disk"))
  }
}

/// Runs work that may take long on a thread of its own instead of one of Swift's cooperative threads.
private func blocking<Value: Sendable>(
  _ body: @escaping @Sendable () throws(AttemptFailure) -> Value
) async throws(AttemptFailure) -> Value {
  let result: Result<Value, AttemptFailure> = await withCheckedContinuation { continuation in
    SystemThread.start {
      do throws(AttemptFailure) {
        continuation.resume(returning: .success(try body()))
      } catch {
        continuation.resume(returning: .failure(error))
      }
    }
  }
  return try result.get()
}
