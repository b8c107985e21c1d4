import Diagnostics
import Essentials
import Tensors

/// A regular file mapped read-only into memory. Pages are read from disk on first access.
///
/// If another process truncates the file while it is mapped, accessing a missing page ends this process with `SIGBUS`.
/// Programs that replace files by renaming, as `AtomicFile` does, never cause this.
///
/// `@unchecked Sendable`: the members never change, and nobody writes to the bytes, which are mapped read-only.
public final class MappedFile: @unchecked Sendable {
  /// The path that the file was opened with.
  public let path: String
  /// The length of the file in bytes.
  public let byteCount: Int
  private let base: UnsafeMutableRawPointer

  /// The bytes of the file. Tensors that are views of it keep the file mapped.
  public var storage: Storage { Storage(borrowing: base, byteCount: byteCount, isMappedFile: true, owner: self) }

  /// Maps the file at `url`.
  /// - Parameter domain: the domain of the error.
  /// - Throws: `SwiftletError` if it does not exist, cannot be read, is empty, or is not a regular file.
  public init(_ url: URL, domain: SwiftletError.Domain = .checkpoint) throws(SwiftletError) {
    path = url.path
    let (descriptor, length) = try RegularFile.open(path, domain)
    defer { close(descriptor) }
    guard length > 0 else {
      throw SwiftletError(domain, "is empty; download or write it again", at: FileLocation(file: path))
    }
    guard let base = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw .system(path, "could not be mapped into memory", domain)
    }
    self.base = base
    byteCount = length
  }

  deinit { munmap(base, byteCount) }

  /// Asks the kernel for huge pages, which make a file that is read as a whole faster to access. Only some file systems
  /// support them, and only pages that are not in memory yet are affected.
  func preferHugePages() {
    #if os(Linux)
      if byteCount >= 2 << 20 { madvise(base, byteCount, MADV_HUGEPAGE) }
    #endif
  }

  /// The little-endian integer at byte `offset`. It must be within the file, or the program traps.
  public func number<Number: FixedWidthInteger>(_: Number.Type = Number.self, at offset: Int) -> Number {
    withBytes { bytes in
      precondition(offset >= 0 && offset + MemoryLayout<Number>.size <= bytes.count)
      return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }
  }

  /// `count` little-endian integers, the first at byte `offset`, each `stride` bytes after the one before. All must be
  /// within the file, or the program traps.
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

  /// Calls `body` with the bytes of the file, which are valid only during the call.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: base, count: byteCount))
  }
}
