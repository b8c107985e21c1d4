import Diagnostics
import Essentials

/// Replaces a file atomically: bytes go to a temporary file in the same folder, which `commit()` flushes to disk and
/// renames over the old file. If it is released without `commit()`, it deletes the temporary file, and the old file
/// stays.
public final class AtomicFile {
  private let path: String
  private let folder: String
  private let temporary: String
  private var descriptor: Int32
  private var isCommitted = false

  /// Creates the temporary file next to `url`, in a folder that must exist.
  /// - Throws: `SwiftletError` if it cannot be created.
  public init(replacing url: URL) throws(SwiftletError) {
    path = url.path
    folder = url.deletingLastPathComponent().path
    let number = String(UInt64.random(in: .min ... .max), radix: 36)
    temporary = url.deletingLastPathComponent().appendingPathComponent(".swiftlet-\(number).tmp").path
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw .system(path, "could not be created") }
  }

  /// Appends bytes.
  /// - Throws: `SwiftletError` if they cannot be written, for example on a full disk.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(SwiftletError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      // Every kernel accepts writes of this size.
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
      #if canImport(Darwin)
        let written = Darwin.write(descriptor, part.baseAddress, part.count)
      #else
        let written = Glibc.write(descriptor, part.baseAddress, part.count)
      #endif
      if written < 0 {
        if errno == EINTR { continue }
        throw .system(path, "could not be written")
      }
      rest = rest.dropFirst(written)
    }
  }

  /// Appends integers of any width, in memory (little-endian) order.
  /// - Throws: `SwiftletError` if they cannot be written, for example on a full disk.
  public func write<Number: FixedWidthInteger>(_ numbers: [Number]) throws(SwiftletError) {
    try numbers.withUnsafeBufferPointer { (numbers) throws(SwiftletError) in
      try write(UnsafeRawBufferPointer(numbers))
    }
  }

  /// Flushes the temporary file to disk and closes it. `commit()` does this too; finish several files first to rename
  /// them all at nearly the same time.
  /// - Throws: `SwiftletError` if the disk reports an error.
  public func finish() throws(SwiftletError) {
    if descriptor < 0 { return }
    if fsync(descriptor) != 0 { throw .system(path, "could not be flushed to disk") }
    let closed = close(descriptor)
    descriptor = -1
    if closed != 0 { throw .system(path, "could not be closed") }
  }

  /// Renames the temporary file over the old one.
  /// - Throws: `SwiftletError` on failure, which leaves the old file unchanged.
  public func commit() throws(SwiftletError) {
    try finish()
    if rename(temporary, path) != 0 { throw .system(path, "could not be replaced") }
    isCommitted = true
    try Self.synchronize(folder: folder)
  }

  /// Replaces the file at `url` with `bytes`.
  /// - Throws: `SwiftletError` on failure, which leaves the old file unchanged.
  public static func write(_ bytes: [UInt8], to url: URL) throws(SwiftletError) {
    let file = try AtomicFile(replacing: url)
    try file.write(bytes)
    try file.commit()
  }

  /// Replaces the file at `url` with `text` in UTF-8.
  /// - Throws: `SwiftletError` on failure, which leaves the old file unchanged.
  public static func write(_ text: String, to url: URL) throws(SwiftletError) {
    try write(Array(text.utf8), to: url)
  }

  /// Replaces the file at `url` for readers who watch it, without flushing it to disk, which can take long. After a power
  /// failure it may be damaged.
  /// - Throws: `SwiftletError` on failure, which leaves the old file unchanged.
  package static func replaceQuickly(_ url: URL, with text: String) throws(SwiftletError) {
    let file = try AtomicFile(replacing: url)
    try file.write(Array(text.utf8))
    if rename(file.temporary, file.path) != 0 { throw .system(file.path, "could not be replaced") }
    file.isCommitted = true
  }

  /// Flushes `folder` to disk, so that a rename in it survives a power failure.
  static func synchronize(folder: String) throws(SwiftletError) {
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw .system(folder, "could not be opened") }
    defer { close(descriptor) }
    // Some network file systems do not support fsync on folders and return EINVAL.
    if fsync(descriptor) != 0, errno != EINVAL { throw .system(folder, "could not be flushed to disk") }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isCommitted { unlink(temporary) }
  }
}
