import CKernels

/// How weights are turned into 4-bit codes: the words of bitsandbytes.
public struct FourBitFormat: Sendable, Hashable {
  /// `nf4` (NormalFloat, arXiv:2305.14314) or `fp4`.
  public var type: ElementType
  /// Elements of the flattened tensor that share a scale; one of `blockSizes`.
  public var blockSize: Int
  /// Whether the scales are quantized to 8 bits themselves (double quantization).
  public var doubleQuantized: Bool

  /// A format of these parts; QLoRA's by default, without double quantization.
  public init(_ type: ElementType = .nf4, blockSize: Int = 64, doubleQuantized: Bool = false) {
    self.type = type
    self.blockSize = blockSize
    self.doubleQuantized = doubleQuantized
  }

  /// The block sizes that bitsandbytes knows.
  public static let blockSizes = [32, 64, 128, 256, 512, 1024, 2048, 4096]
  /// Scales that share a scale of their own.
  public static let nestedBlockSize = 256

  /// The numbers that the 16 codes of a type stand for, before they are scaled.
  public static func levels(of type: ElementType) -> [Float] {
    let backend = CPUBackend.shared
    let codes = backend.empty([16], type)
    for byte in 0..<8 { codes.pointer(UInt8.self)[byte] = UInt8(2 * byte << 4 | 2 * byte + 1) }
    let one = BlockScales(
      count: 16, blockSize: 32, absmax: backend.tensor([1], [1]), nested: nil, original: .float32)
    let values = backend.floats(Tensor(type: type, shape: [16], storage: codes.storage, scales: one))
    return values.map { $0 == 0 ? 0 : $0 }  // bitsandbytes lists FP4's second zero without its sign
  }
}

/// The scales of a tensor of 4-bit codes, as bitsandbytes keeps them (`QuantState`): the largest magnitude (absmax) of
/// each block.
public final class BlockScales: Sendable {
  /// Elements of the flattened tensor that share a scale: a power of two, 32 at least.
  public let blockSize: Int
  /// float32 `[blocks]`; nested, uint8 codes of `map`.
  public let absmax: Tensor
  /// What the bytes of `absmax` stand for, where it has been quantized itself.
  public let nested: Nested?
  /// What was quantized: one of the float types. Checkpoints name it.
  public let original: ElementType

  /// Scales in 8 bits: code c of block b stands for map[c] · absmax[b / 256] + offset.
  public struct Nested: Sendable {
    /// float32 `[256]`, ascending.
    public let map: Tensor
    /// float32, one for each 256 blocks.
    public let absmax: Tensor
    /// The mean that was taken from the scales.
    public let offset: Float

    /// Statistics of these parts.
    public init(map: Tensor, absmax: Tensor, offset: Float) {
      self.map = map
      self.absmax = absmax
      self.offset = offset
    }
  }

  /// The scales of a tensor of `count` elements. Sizes and types must fit each other and the tensor.
  public init(count: Int, blockSize: Int, absmax: Tensor, nested: Nested?, original: ElementType) {
    let blocks = (count + blockSize - 1) / blockSize
    precondition(FourBitFormat.blockSizes.contains(blockSize), "a block size that bitsandbytes knows")
    precondition(absmax.count == blocks && absmax.type == (nested == nil ? .float32 : .uint8), "a scale for each block")
    if let nested {
      precondition(nested.map.count == 256 && nested.map.type == .float32, "a value for each code of a scale")
      let groups = (blocks + FourBitFormat.nestedBlockSize - 1) / FourBitFormat.nestedBlockSize
      precondition(nested.absmax.count == groups && nested.absmax.type == .float32, "a scale for each 256 scales")
    }
    self.blockSize = blockSize
    self.absmax = absmax
    self.nested = nested
    self.original = original
  }

  /// The bytes that the scales take.
  public var byteCount: Int {
    absmax.byteCount + (nested.map { $0.absmax.byteCount + $0.map.byteCount } ?? 0)
  }

  /// The bytes that the scales of `count` elements take in `format`.
  public static func byteCount(of count: Int, in format: FourBitFormat) -> Int {
    let blocks = (count + format.blockSize - 1) / format.blockSize
    let groups = (blocks + FourBitFormat.nestedBlockSize - 1) / FourBitFormat.nestedBlockSize
    return format.doubleQuantized ? blocks + 4 * groups + 4 * 256 : 4 * blocks
  }

  /// As the kernels take them.
  var kernelScales: ck_scales {
    let shift = Int32(blockSize.trailingZeroBitCount)
    let bytes = UnsafeRawPointer(absmax.pointer(UInt8.self))
    guard let nested else {
      return ck_scales(absmax: bytes, map: nil, nested_absmax: nil, offset: 0, block_shift: shift)
    }
    return ck_scales(
      absmax: bytes, map: nested.map.pointer(), nested_absmax: nested.absmax.pointer(), offset: nested.offset,
      block_shift: shift)
  }
}

extension Tensor {
  /// The format of a tensor of 4-bit codes.
  public var fourBitFormat: FourBitFormat? {
    scales.map { FourBitFormat(type, blockSize: $0.blockSize, doubleQuantized: $0.nested != nil) }
  }
}
