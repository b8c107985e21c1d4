import CKernels

/// The scales of a 4-bit tensor, as in bitsandbytes' `QuantState`: the largest magnitude (absmax) of each block.
public final class BlockScales {
  /// The number of consecutive elements that share a scale: a power of two, at least 32.
  public let blockSize: Int
  /// float32 `[blocks]`, or uint8 codes with double quantization.
  public let absmax: Tensor
  /// How to dequantize `absmax`; `nil` without double quantization.
  public let nested: Nested?
  /// The float type before quantization, which checkpoints record.
  public let original: ElementType

  /// Scales in 8 bits: code c of block b represents map[c] · absmax[b / 256] + offset.
  public struct Nested {
    /// float32 `[256]`, ascending.
    public let map: Tensor
    /// float32, one per 256 blocks.
    public let absmax: Tensor
    /// The mean of the scales, which was subtracted before quantization.
    public let offset: Float

    /// Creates second-level scales; `BlockScales` checks their sizes.
    public init(map: Tensor, absmax: Tensor, offset: Float) {
      self.map = map
      self.absmax = absmax
      self.offset = offset
    }
  }

  /// Creates the scales of a tensor of `count` elements. Sizes and types must be consistent.
  public init(count: Int, blockSize: Int, absmax: Tensor, nested: Nested?, original: ElementType) {
    let blocks = (count + blockSize - 1) / blockSize
    precondition(FourBitFormat.blockSizes.contains(blockSize), "a block size that bitsandbytes supports")
    precondition(absmax.count == blocks && absmax.type == (nested == nil ? .float32 : .uint8), "one scale per block")
    if let nested {
      precondition(nested.map.count == 256 && nested.map.type == .float32, "one value per code")
      let groups = (blocks + FourBitFormat.nestedBlockSize - 1) / FourBitFormat.nestedBlockSize
      precondition(
        nested.absmax.count == groups && nested.absmax.type == .float32, "one second-level scale per 256 scales")
    }
    self.blockSize = blockSize
    self.absmax = absmax
    self.nested = nested
    self.original = original
  }

  /// The number of bytes that the scales take.
  public var byteCount: Int {
    absmax.byteCount + (nested.map { $0.absmax.byteCount + $0.map.byteCount } ?? 0)
  }

  /// The number of bytes that the scales of `count` elements take in `format`.
  public static func byteCount(of count: Int, in format: FourBitFormat) -> Int {
    let blocks = (count + format.blockSize - 1) / format.blockSize
    let groups = (blocks + FourBitFormat.nestedBlockSize - 1) / FourBitFormat.nestedBlockSize
    return format.doubleQuantized ? blocks + 4 * groups + 4 * 256 : 4 * blocks
  }

  /// The scales in the form the kernels expect.
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
