/// A block of memory: a pooled buffer, a region of a memory-mapped file, or device memory. It is released together with
/// the last tensor that uses it.
public final class Storage {
  private let pointer: UnsafeMutableRawPointer?
  /// The device memory; `nil` if the bytes are in host memory.
  let deviceMemory: DeviceMemory?
  /// The size of the block in bytes, at least that of each tensor in it.
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
    pointer = base
    deviceMemory = nil
    self.byteCount = byteCount
    self.isMappedFile = isMappedFile
    self.release = release
  }

  /// Wraps device memory.
  init(_ memory: DeviceMemory, byteCount: Int) {
    pointer = nil
    deviceMemory = memory
    self.byteCount = byteCount
    isMappedFile = false
    release = { _, _ in }
  }

  /// The address of the first byte, valid as long as this object exists. Host memory only; `Tensor.withBytes` also
  /// reads device memory.
  public var base: UnsafeMutableRawPointer {
    guard let pointer else { preconditionFailure("device memory has no address on the host") }
    return pointer
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

  deinit {
    if let pointer { release(pointer, byteCount) }
  }
}
