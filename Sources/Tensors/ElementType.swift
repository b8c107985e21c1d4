/// The type that a tensor's elements are stored in.
///
/// The block types are GGML's (`ggml-common.h`): `blockLength` consecutive elements of a row share their scales. The
/// others with codes have separate scales in `Tensor.scales`.
public enum ElementType: String, Sendable, Hashable, CaseIterable, Codable {
  /// Floating-point types: IEEE 754's, and bfloat16, which has float32's exponent and 7 explicit fraction bits.
  case float64, float32, float16, bfloat16
  /// Integers, and booleans in one byte each. They occur in files, not as weights.
  case int64, int32, int16, int8, uint32, uint8, bool
  /// GGML blocks of 32 elements with one scale. `_0` is symmetric, `_1` has a minimum too.
  case q4_0, q4_1, q5_0, q5_1, q8_0
  /// GGML's k-quants: blocks of 256 elements, whose parts have quantized scales of their own.
  case q2_K, q3_K, q4_K, q5_K, q6_K
  /// bitsandbytes' 4-bit types, NormalFloat (arXiv:2305.14314) and a 4-bit float.
  case nf4, fp4
  /// GGML blocks with a table of 16 levels: of 32 and 256 elements with a scale, and of 32 with an exponent (MXFP4 of the OCP
  /// Microscaling Formats).
  case iq4_nl, iq4_xs, mxfp4
  /// MXFP4 as in safetensors: E2M1 codes, two per byte, with exponents apart.
  case float4 = "float4_e2m1"
  /// MLX's codes of 4 and 8 bits, each a multiple of a scale plus a bias.
  case affine4, affine8
  /// An 8-bit float, E4M3 without infinities (arXiv:2209.05433), with a scale per tile.
  case float8 = "float8_e4m3"

  /// The number of elements in a block; 1 for types without blocks.
  public var blockLength: Int {
    switch self {
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_nl, .mxfp4: 32
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_xs: 256
    case .nf4, .fp4, .float4, .affine4: 2
    default: 1
    }
  }

  /// The number of bytes in a block.
  public var blockByteCount: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32, .uint32: 4
    case .float16, .bfloat16, .int16: 2
    case .int8, .uint8, .bool: 1
    case .q4_0: 18
    case .q4_1: 20
    case .q5_0: 22
    case .q5_1: 24
    case .q8_0: 34
    case .q2_K: 84
    case .q3_K: 110
    case .q4_K: 144
    case .q5_K: 176
    case .q6_K: 210
    case .iq4_nl: 18
    case .iq4_xs: 136
    case .mxfp4: 17
    case .nf4, .fp4, .float4, .affine4, .affine8, .float8: 1
    }
  }

  /// Whether elements are quantized with shared scales.
  public var isQuantized: Bool { blockLength > 1 || hasScales }

  /// Whether this is one of bitsandbytes' 4-bit types, whose blocks can span rows.
  public var isFourBitCode: Bool { self == .nf4 || self == .fp4 }

  /// Whether this is one of MLX's affine types.
  public var isAffineCode: Bool { self == .affine4 || self == .affine8 }

  /// Whether the scales of elements are apart from them, in `Tensor.scales`.
  public var hasScales: Bool { isFourBitCode || isAffineCode || self == .float4 || self == .float8 }

  /// Whether tensors can be converted to it.
  var isConversionTarget: Bool {
    switch self {
    case .float32, .float16, .bfloat16, .q4_0, .q5_0, .q8_0, .q4_K, .q6_K: true
    default: false
    }
  }

  /// Whether this is a floating-point type without blocks.
  public var isFloat: Bool {
    switch self {
    case .float64, .float32, .float16, .bfloat16: true
    default: false
    }
  }

  /// The number of bytes in a row of `count` elements; `nil` if it isn't a whole number of blocks, or is too large.
  public func byteCount(ofRow count: Int) -> Int? {
    guard count >= 0, count % blockLength == 0 else { return nil }
    let (bytes, overflow) = (count / blockLength).multipliedReportingOverflow(by: blockByteCount)
    return overflow ? nil : bytes
  }
}
