import Foundation
import NIOCore
import NIOHTTP1

/// Brings one blob into the cache: appended to `BLOB.incomplete`, resumed from there after a cut, checked, renamed.
struct BlobDownload: Sendable {
  let connection: HubConnection
  let cache: HubCache
  let file: RemoteFile
  let etag: String
  /// Told how many bytes are there so far.
  let progress: @Sendable (Int) async -> Void

  private var incomplete: URL { cache.folder.appending(path: "blobs").appending(path: "\(etag).incomplete") }
  private var subject: String { "\(connection.repository) \(excerpt(file.path))" }

  func run() async throws(HubError) {
    let lock = try await FileLock(cache.lock(etag))
    defer { withExtendedLifetime(lock) {} }
    let blob = cache.blob(etag)
    // Another program, or another file of the same content, may have brought it while this one waited.
    if FileManager.default.fileExists(atPath: blob.path) { return }
    var mismatches = 0
    // Only bytes never seen before count as progress, lest a server that lies about the size be asked for ever.
    var furthest = 0
    try await connection.retrying { () async throws(AttemptFailure) in
      try await fetch(&furthest)
      if try !isIntact() {
        try? FileManager.default.removeItem(at: incomplete)
        mismatches += 1
        if mismatches < 2 { throw .passing("\(excerpt(file.path)) came damaged") }
        throw .final(
          HubError(subject, "twice came with another content than its hash promises; try again later or elsewhere"))
      }
    }
    if rename(incomplete.path, blob.path) != 0 {
      throw HubError(blob.path, "could not be put in place: \(String(cString: strerror(errno))); check the permissions")
    }
  }

  /// Appends what is missing.
  private func fetch(_ furthest: inout Int) async throws(AttemptFailure) {
    let handle = try openIncomplete()
    defer { try? handle.close() }
    var received = try storing { Int(try handle.seekToEnd()) }
    if let size = file.size, received >= size {
      if received == size, received > 0 || size == 0 { return }
      try storing { try handle.truncate(atOffset: 0) }
      received = 0
    }
    let response = try await connection.send(.GET, file.url, from: received)
    let offset = Self.offset(response)
    guard response.status != 416, offset == 0 || offset == received else {
      try storing { try handle.truncate(atOffset: 0) }
      let promised = file.size.map { " of \($0)" } ?? ""
      throw .passing("\(excerpt(file.path)) could not be continued at byte \(received)\(promised)")
    }
    if offset != received {
      received = 0
      try storing { try handle.truncate(atOffset: 0) }
    }
    try await append(response, to: handle, received: received, &furthest)
    try storing { try handle.synchronize() }
  }

  private func append(
    _ response: HubResponse, to handle: FileHandle, received start: Int, _ furthest: inout Int
  ) async throws(AttemptFailure) {
    var received = start
    let known = max(furthest, start)
    await progress(received)
    var body = response.body.makeAsyncIterator()
    while true {
      let part: ByteBuffer?
      do {
        part = try await body.next()
      } catch {
        throw .passing("the connection broke (\(excerpt("\(error)")))", hasProgressed: received > known)
      }
      guard let part else {
        // A cancelled body looks like one that ended.
        if Task.isCancelled { throw .final(HubError(subject, "the download was cancelled; start it again to go on")) }
        break
      }
      received += part.readableBytes
      if let size = file.size, received > size {
        try storing { try handle.truncate(atOffset: 0) }
        throw .passing("\(excerpt(file.path)) has more than the \(size) bytes promised")
      }
      try storing { try handle.write(contentsOf: Data(part.readableBytesView)) }
      furthest = max(furthest, received)
      await progress(received)
    }
    if let size = file.size, received < size {
      throw .passing(
        "\(excerpt(file.path)) ended after \(received) of \(size) bytes", hasProgressed: received > known)
    }
  }

  /// Where in the file the body starts: 0 unless the server grants a range.
  private static func offset(_ response: HubResponse) -> Int? {
    guard response.status == 206 else { return 0 }
    guard let range = response.headers.first(name: "Content-Range"), range.hasPrefix("bytes ") else { return nil }
    return Int(range.dropFirst(6).prefix { $0 != "-" })
  }

  private func isIntact() throws(AttemptFailure) -> Bool {
    guard let digest = file.digest else { return true }
    return try storing {
      let size = try FileManager.default.attributesOfItem(atPath: incomplete.path)[.size] as? Int ?? 0
      return try digest.matches(incomplete, size: size)
    }
  }

  private func openIncomplete() throws(AttemptFailure) -> FileHandle {
    try storing {
      if !FileManager.default.fileExists(atPath: incomplete.path) { try Data().write(to: incomplete) }
      return try FileHandle(forUpdating: incomplete)
    }
  }

  /// Errors of the local disk end the download; another attempt would meet them again.
  private func storing<Value>(_ body: () throws -> Value) throws(AttemptFailure) -> Value {
    do {
      return try body()
    } catch {
      let cause = (error as NSError).localizedDescription
      throw .final(
        HubError(incomplete.path, "could not be written (\(excerpt(cause))); free disk space or set HF_HOME elsewhere"))
    }
  }
}
