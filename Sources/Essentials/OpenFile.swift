/// An open file descriptor, for reading or writing. It is closed with the last reference.
package final class OpenFile: Sendable {
  package let descriptor: Int32
  private let path: String
  private let closes: Bool

  /// The standard streams.
  package static let standardInput = OpenFile(descriptor: 0, path: "standard input")
  package static let standardOutput = OpenFile(descriptor: 1, path: "standard output")
  package static let standardError = OpenFile(descriptor: 2, path: "standard error")

  /// Wraps a descriptor that is already open; `path` names it in errors. `closes` says whether to close it in the end.
  package init(descriptor: Int32, path: String, closes: Bool = false) {
    self.descriptor = descriptor
    self.path = path
    self.closes = closes
  }

  /// Opens the regular file at `path`, with the flags of `open(2)`. A FIFO or device could block forever, so it is an
  /// error.
  package init(_ path: String, _ flags: Int32 = O_RDONLY) throws(FileFailure) {
    descriptor = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0o666)
    self.path = path
    closes = true
    if descriptor < 0 { throw FileFailure(path) }
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw FileFailure(path) }
    if status.st_mode & S_IFMT != S_IFREG { throw FileFailure(path, code: ENOTSUP) }
  }

  deinit { if closes, descriptor >= 0 { close(descriptor) } }

  /// Reads `count` bytes, or fewer at the end of the file.
  package func read(upTo count: Int) throws(FileFailure) -> Data {
    var data = Data(count: count)
    var filled = 0
    while filled < count {
      let got = data.withUnsafeMutableBytes {
        systemRead(descriptor, $0.baseAddress.map { $0 + filled }, count - filled)
      }
      if got < 0, errno == EINTR { continue }
      if got < 0 { throw FileFailure(path) }
      if got == 0 { break }
      filled += got
    }
    return filled < count ? data.prefix(filled) : data
  }

  /// Reads the rest of the file.
  package func readToEnd() throws(FileFailure) -> Data {
    var data = Data()
    while true {
      let part = try read(upTo: 1 << 16)
      if part.isEmpty { return data }
      data.append(part)
    }
  }

  /// Writes all of `bytes` at the current position.
  package func write(_ bytes: some DataProtocol) throws(FileFailure) {
    let bytes = Array(bytes)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        systemWrite(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done)
      }
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw FileFailure(path) }
      done += count
    }
  }

  /// Moves the position to `offset` from the start of the file, and returns it.
  @discardableResult
  package func seek(to offset: Int) throws(FileFailure) -> Int { try seek(offset, SEEK_SET) }

  /// Moves the position to the end of the file, and returns it: the file's size.
  @discardableResult
  package func seekToEnd() throws(FileFailure) -> Int { try seek(0, SEEK_END) }

  private func seek(_ offset: Int, _ origin: Int32) throws(FileFailure) -> Int {
    let place = lseek(descriptor, off_t(offset), origin)
    if place < 0 { throw FileFailure(path) }
    return Int(place)
  }

  /// Truncates or extends the file to `size` bytes.
  package func truncate(to size: Int) throws(FileFailure) {
    if ftruncate(descriptor, off_t(size)) != 0 { throw FileFailure(path) }
  }

  /// Waits until the file is on the disk.
  package func synchronize() throws(FileFailure) { if fsync(descriptor) != 0 { throw FileFailure(path) } }
}

private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  read(descriptor, bytes, count)
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

/// A failed system call on a file, with its `errno`.
package struct FileFailure: Error, CustomStringConvertible {
  package let path: String
  package let code: Int32

  package init(_ path: String, code: Int32 = errno) {
    self.path = path
    self.code = code
  }

  /// The system's description of the error, such as "No such file or directory".
  package var reason: String { String(cString: strerror(code)) }
  package var description: String { "\(path): \(reason)" }
}
