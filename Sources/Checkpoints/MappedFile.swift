import Diagnostics
import Foundation
import Tensors

/// A regular file whose bytes are mapped into memory to be read; pages come from the disk when first touched.
///
/// A file that another process cuts short while it is mapped cannot be guarded against: touching a page that is gone
/// ends the process (`SIGBUS`). Programs that replace files by renaming, as `AtomicFile` does, never cause this.
public final class MappedFile: Sendable {
  /// The path the file was opened by.
  public let path: String
  /// The whole file. Tensors that lie in it keep it mapped.
  public let storage: Storage

  /// The length of the file in bytes.
  public var byteCount: Int { storage.byteCount }

  /// Maps the file at `url`.
  /// - Throws: `SwiftletError` where it is missing, unreadable, empty, or no regular file.
  public init(_ url: URL) throws(SwiftletError) {
    path = url.path
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor < 0 { throw .system(path, "could not be opened") }
    defer { close(descriptor) }
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw .system(path, "could not be examined") }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw SwiftletError.checkpoint(path: path, reason: "is not a regular file; give the path of a file")
    }
    let length = Int(status.st_size)
    guard length > 0 else { throw SwiftletError.checkpoint(path: path, reason: "is empty; download or write it again") }
    guard let base = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw .system(path, "could not be mapped into memory")
    }
    storage = Storage(base: base, byteCount: length, isMappedFile: true) { munmap($0, $1) }
  }

  /// Asks for huge pages, for a file that is read as a whole: what comes from the disk from now on comes in them where
  /// the file system can, and is read faster for it as long as it stays in memory.
  func preferHugePages() {
    #if os(Linux)
      if byteCount >= 2 << 20 { madvise(storage.base, byteCount, MADV_HUGEPAGE) }
    #endif
  }

  /// The number at the byte `offset`, lowest byte first; it must lie within the file.
  public func number<Number: FixedWidthInteger>(_: Number.Type = Number.self, at offset: Int) -> Number {
    withBytes { bytes in
      precondition(offset >= 0 && offset + MemoryLayout<Number>.size <= bytes.count)
      return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }
  }

  /// `count` numbers from the byte `offset` on, each `stride` bytes after the one before, lowest byte first.
  ///
  /// All of them must lie within the file.
  public func numbers<Number: FixedWidthInteger>(
    _: Number.Type = Number.self, at offset: Int, count: Int, stride: Int = MemoryLayout<Number>.size
  ) -> [Number] {
    if count == 0 { return [] }
    return withBytes { bytes in
      precondition(offset >= 0 && count > 0 && offset + (count - 1) * stride + MemoryLayout<Number>.size <= bytes.count)
      return (0..<count).map {
        Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + $0 * stride, as: Number.self))
      }
    }
  }

  /// The bytes of the file; only within the closure.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: storage.base, count: byteCount))
  }
}
