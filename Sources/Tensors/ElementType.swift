/// How the elements of a tensor are stored.
///
/// The block formats are GGML's (`ggml-common.h`): `blockLength` consecutive elements of a row share their scales. The
/// 4-bit codes are bitsandbytes': two elements a byte, the first in the high nibble, and their scales apart from them in
/// `Tensor.scales`.
public enum ElementType: String, Sendable, Hashable, CaseIterable {
  case float64, float32, float16, bfloat16
  case int64, int32, int16, int8, uint8, bool
  case q4_0, q4_1, q5_0, q5_1, q8_0
  case q2_K, q3_K, q4_K, q5_K, q6_K
  case nf4, fp4

  /// Elements in a block; 1 where elements stand alone.
  public var blockLength: Int {
    switch self {
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0: 32
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K: 256
    case .nf4, .fp4: 2
    default: 1
    }
  }

  /// Bytes that a block takes.
  public var blockByteCount: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
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
    case .nf4, .fp4: 1
    }
  }

  /// Whether elements share scales in blocks.
  public var isQuantized: Bool { blockLength > 1 }

  /// Whether these are bitsandbytes' 4-bit codes.
  public var isFourBitCode: Bool { self == .nf4 || self == .fp4 }

  /// Whether this is one of the IEEE or brain floating-point types.
  public var isFloat: Bool {
    switch self {
    case .float64, .float32, .float16, .bfloat16: true
    default: false
    }
  }

  /// Bytes that a row of `count` elements takes, or `nil` where a row is no whole number of blocks or too large.
  public func byteCount(ofRow count: Int) -> Int? {
    guard count >= 0, count % blockLength == 0 else { return nil }
    let (bytes, overflow) = (count / blockLength).multipliedReportingOverflow(by: blockByteCount)
    return overflow ? nil : bytes
  }
}
