/// Bytes in host memory with an owner: a pooled buffer, or a region of a mapped file.
///
/// `@unchecked Sendable`: the pointer and its length never change, and the bytes are written only by the kernel that
/// produces a tensor, before anyone else can see it, or by an optimizer that owns the parameter exclusively.
public final class Storage: @unchecked Sendable {
  /// The first byte; valid while this object lives.
  public let base: UnsafeMutableRawPointer
  /// The number of bytes.
  public let byteCount: Int
  /// Whether the bytes are a file's, mapped to be read only: the system can take their pages and read them again.
  public let isMappedFile: Bool
  private let release: @Sendable (UnsafeMutableRawPointer, Int) -> Void

  /// Takes over `byteCount` bytes at `base`; `release` is called with them once nobody needs them.
  /// - Parameter isMappedFile: whether it is a map of a file that is only read.
  public init(
    base: UnsafeMutableRawPointer, byteCount: Int, isMappedFile: Bool = false,
    release: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
  ) {
    self.base = base
    self.byteCount = byteCount
    self.isMappedFile = isMappedFile
    self.release = release
  }

  /// A region of memory that `owner` keeps alive, such as a mapped file.
  public convenience init(borrowing base: UnsafeRawPointer, byteCount: Int, owner: some AnyObject & Sendable) {
    self.init(base: UnsafeMutableRawPointer(mutating: base), byteCount: byteCount) { _, _ in
      withExtendedLifetime(owner) {}
    }
  }

  deinit { release(base, byteCount) }
}
