import Diagnostics
import Foundation

/// Replaces a file as a whole or not at all: bytes go to a temporary file in the same folder, which takes the name of
/// the old file once all of them are on the disk. Dropped before `commit()`, it removes the temporary file and leaves
/// the old one as it was.
public final class AtomicFile {
  private let path: String
  private let folder: String
  private let temporary: String
  private var descriptor: Int32
  private var isCommitted = false

  /// Creates the temporary file beside `url`; the folder must exist.
  /// - Throws: `SwiftletError` where it cannot be created.
  public init(replacing url: URL) throws(SwiftletError) {
    path = url.path
    folder = url.deletingLastPathComponent().path
    let number = String(UInt64.random(in: .min ... .max), radix: 36)
    temporary = url.deletingLastPathComponent().appendingPathComponent(".swiftlet-\(number).tmp").path
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw .system(path, "could not be created") }
  }

  /// Appends bytes.
  /// - Throws: `SwiftletError` where they cannot be written, as on a full disk.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(SwiftletError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      // The largest write that every kernel takes.
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

  /// Appends bytes, or larger numbers as they lie in memory, lowest byte first.
  /// - Throws: `SwiftletError` where they cannot be written, as on a full disk.
  public func write<Number: FixedWidthInteger>(_ numbers: [Number]) throws(SwiftletError) {
    try numbers.withUnsafeBufferPointer { (numbers) throws(SwiftletError) in
      try write(UnsafeRawBufferPointer(numbers))
    }
  }

  /// Brings everything to the disk and closes the temporary file; `commit()` does this too. Calling it earlier lets
  /// several files take their names at one moment.
  /// - Throws: `SwiftletError` where the disk reports a failure.
  public func finish() throws(SwiftletError) {
    if descriptor < 0 { return }
    if fsync(descriptor) != 0 { throw .system(path, "could not be brought to the disk") }
    let closed = close(descriptor)
    descriptor = -1
    if closed != 0 { throw .system(path, "could not be closed") }
  }

  /// Gives the temporary file the name of the old one, which is gone from then on.
  /// - Throws: `SwiftletError` where that fails; the old file then stands as it was.
  public func commit() throws(SwiftletError) {
    try finish()
    if rename(temporary, path) != 0 { throw .system(path, "could not be replaced") }
    isCommitted = true
    try Self.synchronize(folder: folder)
  }

  /// Replaces the file at `url` by `bytes`.
  /// - Throws: `SwiftletError`; the old file then stands as it was.
  public static func write(_ bytes: [UInt8], to url: URL) throws(SwiftletError) {
    let file = try AtomicFile(replacing: url)
    try file.write(bytes)
    try file.commit()
  }

  /// Replaces the file at `url` by `text` in UTF-8.
  /// - Throws: `SwiftletError`; the old file then stands as it was.
  public static func write(_ text: String, to url: URL) throws(SwiftletError) {
    try write(Array(text.utf8), to: url)
  }

  /// Makes a rename in `folder` survive a power cut.
  static func synchronize(folder: String) throws(SwiftletError) {
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw .system(folder, "could not be opened") }
    defer { close(descriptor) }
    // Some network file systems cannot synchronize folders and say EINVAL.
    if fsync(descriptor) != 0, errno != EINVAL { throw .system(folder, "could not be brought to the disk") }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isCommitted { unlink(temporary) }
  }
}
