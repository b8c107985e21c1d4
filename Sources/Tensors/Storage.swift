/// A block of host memory: a pooled buffer, or a region of a mapped file. It is released with the last tensor in it.
public final class Storage {
  /// The first byte, valid as long as this object.
  public let base: UnsafeMutableRawPointer
  /// The number of bytes.
  public let byteCount: Int
  /// Whether the bytes belong to a file mapped read-only, so that the system can drop their pages and read them again.
  public let isMappedFile: Bool
  private let release: @Sendable (UnsafeMutableRawPointer, Int) -> Void

  /// Takes ownership of `byteCount` bytes at `base`.
  /// - Parameters:
  ///   - isMappedFile: whether the bytes belong to a file mapped read-only.
  ///   - release: called with the arguments `base` and `byteCount` when the storage is released.
  public init(
    base: UnsafeMutableRawPointer, byteCount: Int, isMappedFile: Bool = false,
    release: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
  ) {
    self.base = base
    self.byteCount = byteCount
    self.isMappedFile = isMappedFile
    self.release = release
  }

  /// Borrows memory that `owner` keeps alive.
  /// - Parameter isMappedFile: whether the bytes belong to a file mapped read-only.
  public convenience init(
    borrowing base: UnsafeRawPointer, byteCount: Int, isMappedFile: Bool = false, owner: some AnyObject & Sendable
  ) {
    self.init(base: UnsafeMutableRawPointer(mutating: base), byteCount: byteCount, isMappedFile: isMappedFile) { _, _ in
      withExtendedLifetime(owner) {}
    }
  }

  deinit { release(base, byteCount) }
}
