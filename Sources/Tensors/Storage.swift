/// A block of memory: a pooled buffer, a region of a mapped file, or memory of a device. It is released with the last
/// tensor in it.
public final class Storage {
  private let pointer: UnsafeMutableRawPointer?
  /// The memory of a device; `nil` if the bytes are in host memory.
  let deviceMemory: DeviceMemory?
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
    pointer = base
    deviceMemory = nil
    self.byteCount = byteCount
    self.isMappedFile = isMappedFile
    self.release = release
  }

  /// Holds memory of a device.
  init(_ memory: DeviceMemory, byteCount: Int) {
    pointer = nil
    deviceMemory = memory
    self.byteCount = byteCount
    isMappedFile = false
    release = { _, _ in }
  }

  /// The first byte, valid as long as this object. Only for host memory; `Tensor.withBytes` reads any.
  public var base: UnsafeMutableRawPointer {
    guard let pointer else { preconditionFailure("memory of a device has no address on the host") }
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
