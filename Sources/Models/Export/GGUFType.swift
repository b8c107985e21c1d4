import Checkpoints
import Tensors

/// The type to store the matrices of an exported GGUF file in.
public enum GGUFType: String, Sendable, CaseIterable, Codable {
  /// Floats: float32, float16 and bfloat16.
  case f32, f16, bf16
  /// Blocks of 32 weights with one float16 scale, 8.5 and 4.5 bits per weight.
  case q8_0, q4_0

  /// The type named `name`, in lower case or in llama.cpp's upper case: "q8_0" or "Q8_0".
  public init?(parsing name: String) { self.init(rawValue: name.lowercased()) }

  /// The element type that matrices are converted to.
  var elementType: ElementType {
    switch self {
    case .f32: .float32
    case .f16: .float16
    case .bf16: .bfloat16
    case .q8_0: .q8_0
    case .q4_0: .q4_0
    }
  }

  /// `general.file_type` (`llama_ftype` in `llama.h`).
  var fileType: UInt32 {
    switch self {
    case .f32: 0
    case .f16: 1
    case .q4_0: 2
    case .q8_0: 7
    case .bf16: 32
    }
  }

  /// The type to store the tensor `name` in.
  ///
  /// As in llama.cpp's quantizer, vectors and norms stay float32, and matrices whose rows aren't whole blocks become
  /// float16. In a q4_0 file the head is q8_0; the quantizer uses q6_K if rows are whole blocks of 256.
  ///
  /// - Parameter isHead: whether the tensor computes the logits.
  func type(of name: String, shape: [Int], isHead: Bool) -> ElementType {
    // Convolutions are tiny, and llama.cpp leaves them alone.
    guard shape.count > 1, !name.hasSuffix("_norm.weight"), !name.contains("conv.conv.") else { return .float32 }
    let type = self == .q4_0 && isHead ? .q8_0 : elementType
    return (shape.last ?? 0) % type.blockLength == 0 ? type : .float16
  }
}

extension TensorSource {
  /// The tensor that `load` returns, converted to `type`.
  init(
    _ name: String, _ type: ElementType, shape: [Int], on backend: any Backend, load: @escaping () throws -> Tensor
  ) {
    self.init(name: name, type: type, shape: shape) {
      let tensor = try load()
      return tensor.type == type ? tensor : backend.converted(tensor, to: type)
    }
  }
}
