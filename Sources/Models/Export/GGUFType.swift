import Checkpoints
import Tensors

/// The type to store the matrices of an exported GGUF file in.
public enum GGUFType: String, Sendable, CaseIterable, Codable {
  /// Floats: float32, float16 and bfloat16.
  case f32, f16, bf16
  /// Blocks of 32 weights with one float16 scale, 8.5 and 4.5 bits per weight.
  case q8_0, q4_0
  /// Blocks of 256 weights whose parts have scales of their own: 6.6 bits per weight; and 4.5, with more for the matrices that
  /// need it most.
  case q6_k, q4_k_m

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
    case .q6_k: .q6_K
    case .q4_k_m: .q4_K
    }
  }

  /// `general.file_type` (`llama_ftype` in `llama.h`).
  var fileType: UInt32 {
    switch self {
    case .f32: 0
    case .f16: 1
    case .q4_0: 2
    case .q8_0: 7
    case .q4_k_m: 15
    case .q6_k: 18
    case .bf16: 32
    }
  }
}

/// The types of all tensors of a GGUF file, as llama.cpp's quantizer chooses them without an importance matrix.
package struct GGUFMixture {
  package let type: GGUFType
  /// The matrices that get more bits in a mixture: those of some layers that compute values, or project back to the hidden
  /// size.
  private let preferred: Set<String>
  /// The head, or the embeddings if they are tied to it: llama.cpp then gives per-layer embeddings its type too.
  private let heads: Set<String>

  /// - Parameter names: the names of all tensors, in the order of the layers.
  package init(_ type: GGUFType, names: [String]) {
    self.type = type
    let isMixture = type == .q4_k_m
    let values = names.filter { $0.hasSuffix(".attn_v.weight") || $0.hasSuffix(".attn_qkv.weight") }
    let outputs = names.filter { $0.contains(".ffn_down") && $0.hasSuffix(".weight") }
    preferred = isMixture ? Set(Self.preferred(of: values) + Self.preferred(of: outputs)) : []
    let head = "output.weight"
    heads = names.contains(head) ? [head] : ["token_embd.weight", "per_layer_token_embd.weight"]
  }

  /// The first and the last eighth of the layers, and every third one between.
  private static func preferred(of names: [String]) -> [String] {
    let eighth = names.count / 8
    return names.indices.filter { $0 < eighth || $0 >= 7 * names.count / 8 || ($0 - eighth) % 3 == 2 }.map { names[$0] }
  }

  /// Whether a tensor chooses between experts. It is always float32.
  static func isRouter(_ name: String) -> Bool { name.contains(".ffn_gate_inp.") }

  /// The type to store the tensor `name` in.
  ///
  /// Vectors, norms and routers stay float32. The head, also if it is the embedding, is q6_K in a file of 4 bits if its rows are
  /// blocks of 256, else q8_0. Other matrices whose rows aren't whole blocks of their type have the nearest type of blocks of
  /// 32, or float16. So has the projection to per-layer embeddings, which is never quantized.
  package func type(of name: String, shape: [Int]) -> ElementType {
    // Convolutions are tiny, and llama.cpp leaves them alone.
    guard shape.count > 1, !name.hasSuffix("_norm.weight"), !name.contains("conv.conv."),
      !name.contains("ssm_conv1d."), !Self.isRouter(name)
    else {
      return .float32
    }
    let columns = shape.last ?? 0
    var type = type.elementType
    if name == "per_layer_model_proj.weight" { return type.isFloat ? type : .float16 }
    let isHead = heads.contains(name)
    switch type {
    case .q4_0: if isHead { type = columns % 256 == 0 ? .q6_K : .q8_0 }
    case .q4_K: if isHead || preferred.contains(name) { type = .q6_K }
    default: break
    }
    if columns % type.blockLength == 0 { return type }
    let smaller: ElementType = type == .q4_K ? .q5_0 : .q8_0
    return type.blockLength == 256 && columns % 32 == 0 ? smaller : .float16
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

extension ElementType {
  /// The type in which a GGUF file has a tensor of this type if none was requested.
  /// - Parameter isChanged: whether its values are no longer those of its blocks.
  func keptInGGUF(isChanged: Bool) -> ElementType {
    isSupportedByGGUF && (isFloat || !isChanged) ? self : .float16
  }
}
