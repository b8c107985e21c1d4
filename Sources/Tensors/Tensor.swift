/// An array of elements of one type in row-major order, somewhere in a storage. A value: copying shares the bytes.
public struct Tensor: Sendable {
  /// How the elements are stored.
  public let type: ElementType
  /// Extents, outermost first; a matrix is `[rows, columns]`. Empty for a scalar.
  public let shape: [Int]
  /// Where the bytes are.
  public private(set) var storage: Storage
  /// Where in the storage the first element stands, in bytes.
  public let byteOffset: Int
  /// What the elements are multiplied by, where they are 4-bit codes; `nil` for all other types, and for a tensor that
  /// has its shape only.
  public let scales: BlockScales?

  /// A view of `storage` from `byteOffset` on. The bytes that `shape` needs must lie inside the storage.
  public init(
    type: ElementType, shape: [Int], storage: Storage, byteOffset: Int = 0, scales: BlockScales? = nil
  ) {
    self.type = type
    self.shape = shape
    self.storage = storage
    self.byteOffset = byteOffset
    self.scales = scales
    precondition(scales == nil || type.isFourBitCode, "scales belong to 4-bit codes")
    precondition(byteOffset >= 0 && byteOffset + byteCount <= storage.byteCount, "a tensor must lie in its storage")
  }

  /// The number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// The number of bytes, without those of the scales.
  public var byteCount: Int {
    // The blocks of other types end with a row; 4-bit codes run on, and the last byte may be half empty.
    (count + (type.isFourBitCode ? 1 : 0)) / type.blockLength * type.blockByteCount
  }
  /// The number of bytes, with those of the scales.
  public var totalByteCount: Int { byteCount + (scales?.byteCount ?? 0) }
  /// Rows of a matrix: all extents but the last, multiplied.
  public var rows: Int { shape.dropLast().reduce(1, *) }
  /// Columns: the last extent, 1 for a scalar.
  public var columns: Int { shape.last ?? 1 }

  /// The bytes, to read; only within the closure.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: storage.base + byteOffset, count: byteCount))
  }

  /// Whether nobody else holds these bytes, so that they may be changed in place.
  mutating func isUniquelyOwned() -> Bool { isKnownUniquelyReferenced(&storage) }
}
