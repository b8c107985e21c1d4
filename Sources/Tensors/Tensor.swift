/// A row-major array of elements of one type, in a storage that it may share with others.
///
/// Copying a tensor shares its bytes, which kernels and optimizers change in place. That is why tensors aren't
/// `Sendable`: a model and its tensors belong to one thread or actor at a time.
public struct Tensor {
  /// The type of the elements.
  public let type: ElementType
  /// The sizes of the dimensions, outermost first; `[rows, columns]` for a matrix, empty for a scalar.
  public let shape: [Int]
  /// The memory that holds the bytes.
  public private(set) var storage: Storage
  /// The offset of the first element in the storage, in bytes.
  public let byteOffset: Int
  /// The scales of a tensor whose type has them apart; `nil` for all other types, and for a placeholder without data.
  public let scales: BlockScales?

  /// Creates a view of `storage`, starting at `byteOffset`. It must fit in the storage.
  public init(
    type: ElementType, shape: [Int], storage: Storage, byteOffset: Int = 0, scales: BlockScales? = nil
  ) {
    self.type = type
    self.shape = shape
    self.storage = storage
    self.byteOffset = byteOffset
    self.scales = scales
    precondition(scales == nil || type.hasScales, "scales belong to codes")
    precondition(byteOffset >= 0 && byteOffset + byteCount <= storage.byteCount, "a tensor must fit in its storage")
  }

  /// The number of elements, the product of all dimensions.
  public var count: Int { shape.reduce(1, *) }
  /// The number of bytes, without the scales.
  public var byteCount: Int {
    // Blocks of other types end with their row. 4-bit codes don't, and may leave half of the last byte unused.
    (count + (type.isFourBitCode ? 1 : 0)) / type.blockLength * type.blockByteCount
  }
  /// The number of bytes, including the scales.
  public var totalByteCount: Int { byteCount + (scales?.byteCount ?? 0) }
  /// The number of rows: the product of all dimensions but the last.
  public var rows: Int { shape.dropLast().reduce(1, *) }
  /// The number of columns: the last dimension, or 1 for a scalar.
  public var columns: Int { shape.last ?? 1 }

  /// Calls `body` with the bytes, which are valid only during the call. The bytes of a tensor on a device are copied to
  /// the host first, which waits for the device.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard let memory = storage.deviceMemory else {
      return try body(UnsafeRawBufferPointer(start: storage.base + byteOffset, count: byteCount))
    }
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    defer { copy.deallocate() }
    memory.read(into: copy, offset: byteOffset)
    return try body(UnsafeRawBufferPointer(copy))
  }

  /// Whether no other tensor shares the storage, so that it may be changed in place.
  mutating func isUniquelyOwned() -> Bool { !storage.isMappedFile && isKnownUniquelyReferenced(&storage) }
}
