import CKernels

/// The scales of a tensor whose type has them apart from its codes, one per block.
///
/// - `nf4`, `fp4`: as in bitsandbytes' `QuantState`, the largest magnitude (absmax) of each block of consecutive elements.
/// - `affine4`, `affine8`: as in MLX, scales and biases of groups in a row, in a float type.
/// - `float4`: exponents e in uint8 that stand for 2^(e − 127), of blocks in a row.
/// - `float8`: the scales of tiles of rows and columns, in a float type.
public final class BlockScales {
  /// The number of consecutive elements that share a scale: a power of two, at least 32 except for `float8`.
  public let blockSize: Int
  /// The number of rows that share a scale, a power of two: 1 except for `float8`.
  public let blockRows: Int
  /// The scales, `[blocks]`: float32, or uint8 codes with double quantization, for `nf4` and `fp4`.
  public let absmax: Tensor
  /// How to dequantize `absmax`; `nil` without double quantization.
  public let nested: Nested?
  /// What is added to the scaled codes of `affine4` and `affine8`, in the type of the scales.
  public let biases: Tensor?
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

  /// Creates the scales of a 4-bit tensor of `count` elements. Sizes and types must be consistent.
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
    blockRows = 1
    self.absmax = absmax
    self.nested = nested
    biases = nil
    self.original = original
  }

  /// Creates the scales of blocks within the rows of a matrix `[rows, columns]`. Sizes and types must be consistent.
  /// - Parameter biases: for affine codes.
  public init(
    rows: Int, columns: Int, blockSize: Int, blockRows: Int = 1, scales: Tensor, biases: Tensor? = nil,
    original: ElementType
  ) {
    precondition(blockSize.nonzeroBitCount == 1 && blockRows.nonzeroBitCount == 1, "powers of two")
    let perRow = (columns - 1) / blockSize + 1
    precondition(scales.count == ((rows - 1) / blockRows + 1) * perRow, "one scale per block")
    precondition(biases == nil || biases?.count == scales.count && biases?.type == scales.type, "a bias for each scale")
    self.blockSize = blockSize
    self.blockRows = blockRows
    absmax = scales
    nested = nil
    self.biases = biases
    self.original = original
  }

  /// The scales of `other`, with its tensors replaced by what `move` makes of them: copies in another place.
  init(_ other: BlockScales, moving move: (Tensor) -> Tensor) {
    (blockSize, blockRows, original) = (other.blockSize, other.blockRows, other.original)
    absmax = move(other.absmax)
    nested = other.nested.map { Nested(map: move($0.map), absmax: move($0.absmax), offset: $0.offset) }
    biases = other.biases.map(move)
  }

  /// The number of bytes that the scales take.
  public var byteCount: Int {
    absmax.byteCount + (biases?.byteCount ?? 0) + (nested.map { $0.absmax.byteCount + $0.map.byteCount } ?? 0)
  }

  /// The number of bytes that the scales of `count` elements take in `format`.
  public static func byteCount(of count: Int, in format: FourBitFormat) -> Int {
    let blocks = (count + format.blockSize - 1) / format.blockSize
    let groups = (blocks + FourBitFormat.nestedBlockSize - 1) / FourBitFormat.nestedBlockSize
    return format.doubleQuantized ? blocks + 4 * groups + 4 * 256 : 4 * blocks
  }

  /// The scales in the form the kernels expect.
  var kernelScales: ck_scales {
    func bytes(_ tensor: Tensor) -> UnsafeRawPointer { UnsafeRawPointer(tensor.pointer(UInt8.self)) }
    var scales = ck_scales()
    scales.absmax = bytes(absmax)
    scales.block_shift = Int32(blockSize.trailingZeroBitCount)
    scales.row_shift = Int32(blockRows.trailingZeroBitCount)
    scales.biases = biases.map(bytes)
    scales.type = absmax.type == .float16 ? ck_float16 : absmax.type == .bfloat16 ? ck_bfloat16 : ck_float32
    if let nested {
      scales.map = UnsafePointer(nested.map.pointer())
      scales.nested_absmax = UnsafePointer(nested.absmax.pointer())
      scales.offset = nested.offset
    }
    return scales
  }
}
