import Diagnostics
import OrderedJSON
import Tensors

extension Family {
  /// Qwen3.5, dense, and the language model of its multimodal versions: linear attention (Gated DeltaNet) in three of four
  /// layers, attention with an output gate in the others, and norms with weights stored as offsets from 1.
  static let qwen35 = Family(
    modelTypes: ["qwen3_5_text"], wrapperTypes: ["qwen3_5"],
    defaults: [
      "vocab_size": 248_320, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256,
      "max_position_embeddings": 32768, "partial_rotary_factor": 0.25,
    ],
    className: "Qwen3_5ForCausalLM", endOfTurnTokens: ["<|im_end|>", "<|endoftext|>"],
    classifier: .textOnly, gguf: .qwen35
  ) { transformer, config throws(SwiftletError) in
    transformer.normOffset = 1
    transformer.hasQueryKeyNorms = true
    transformer.hasAttentionGate = true
    transformer.hasAttentionInputBias = try config.optionalBool("attention_bias") ?? false
    transformer.hasAttentionOutputBias = transformer.hasAttentionInputBias
    let shape = try config.deltaShape()
    let length = try config.optionalSize("linear_conv_kernel_dim", atMost: 64) ?? 4
    let types = config.json["layer_types"]?.array?.map { $0.string ?? "" }
    let interval = try config.optionalSize("full_attention_interval") ?? 4
    for index in transformer.layers.indices {
      let isLinear =
        types.map { $0.indices.contains(index) && $0[index] == "linear_attention" }
        ?? ((index + 1) % interval != 0)
      if isLinear {
        transformer.layers[index] = .init(mixer: .gatedDelta(shape, length: length), rotary: nil)
      }
    }
  }
}

extension ConfigurationReader {
  /// The sizes of linear attention.
  fileprivate func deltaShape() throws(SwiftletError) -> DeltaShape {
    let shape = DeltaShape(
      keyHeads: try optionalSize("linear_num_key_heads", atMost: 1 << 14) ?? 16,
      valueHeads: try optionalSize("linear_num_value_heads", atMost: 1 << 14) ?? 32,
      keyDim: try optionalSize("linear_key_head_dim", atMost: DeltaShape.largestKeyDim) ?? 128,
      valueDim: try optionalSize("linear_value_head_dim", atMost: 1 << 12) ?? 128)
    guard shape.valueHeads % shape.keyHeads == 0 else {
      throw error("linear_num_value_heads must be a multiple of linear_num_key_heads")
    }
    guard shape.valueDim % 8 == 0 else {
      throw error("linear_value_head_dim must be a multiple of 8")
    }
    return shape
  }
}
