import Tensors

extension ElementType {
  /// The id of this type in a GGUF file (`ggml_type` in `ggml.h`); `nil` if GGML has no such type.
  var ggmlID: UInt32? {
    switch self {
    case .float32: 0
    case .float16: 1
    case .q4_0: 2
    case .q4_1: 3
    case .q5_0: 6
    case .q5_1: 7
    case .q8_0: 8
    case .q2_K: 10
    case .q3_K: 11
    case .q4_K: 12
    case .q5_K: 13
    case .q6_K: 14
    case .int8: 24
    case .int16: 25
    case .int32: 26
    case .int64: 27
    case .float64: 28
    case .bfloat16: 30
    case .iq4_nl: 20
    case .iq4_xs: 23
    case .mxfp4: 39
    case .uint32, .uint8, .bool, .nf4, .fp4, .float4, .affine4, .affine8, .float8: nil
    }
  }

  /// Whether a GGUF file can store tensors of this type.
  public var isSupportedByGGUF: Bool { ggmlID != nil }

  /// The type with this id in a GGUF file; `nil` if Swiftlet does not support it.
  init?(ggmlID: UInt32) {
    guard let type = Self.allCases.first(where: { $0.ggmlID == ggmlID }) else { return nil }
    self = type
  }
}

/// The names of GGML's types, for error messages.
enum GGMLTypeName {
  /// The name llama.cpp gives the type, such as "IQ2_XS"; "GGML type 99" for an id that GGML has not assigned.
  static func of(id: UInt32) -> String {
    id < UInt32(names.count) ? names[Int(id)] : "GGML type \(id)"
  }

  /// By id, from `ggml.h`; includes types that GGML has since removed.
  private static let names = [
    "F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
    "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32",
    "I64", "F64", "IQ1_M", "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8",
    "IQ4_NL_8_8", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
  ]
}
