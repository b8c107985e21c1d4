/// What llama.cpp calls the parts of a model, and how its rows are ordered, against transformers.
struct GGUFNaming: Sendable {
  /// `general.architecture`
  let architecture: String

  /// llama.cpp's architecture names and transformers' `model_type`s for them.
  static let modelTypes = [
    "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "gemma3": "gemma3_text", "smollm3": "smollm3",
  ]

  /// The names of an architecture.
  init(architecture: String) { self.architecture = architecture }

  /// The names for a `model_type`, or `nil` where llama.cpp does not know it. Mistral is its Llama.
  init?(modelType: String) {
    let wanted = modelType == "mistral" ? "llama" : modelType
    guard let entry = Self.modelTypes.first(where: { $0.value == wanted }) else { return nil }
    architecture = entry.key
  }

  /// What llama.cpp calls the tensor that transformers calls `name`; `nil` for one it does not have.
  func ggufName(of name: String) -> String? {
    switch name {
    case "model.embed_tokens.weight": return "token_embd.weight"
    case "model.norm.weight": return "output_norm.weight"
    case "lm_head.weight": return "output.weight"
    default: break
    }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count >= 5, parts[0] == "model", parts[1] == "layers", let layer = Int(parts[2]), layer >= 0,
      let kind = parts.last, let part = partName(parts[3..<parts.count - 1].joined(separator: "."))
    else { return nil }
    return "blk.\(layer).\(part).\(kind)"
  }

  /// What llama.cpp calls a part of a layer.
  private func partName(_ name: String) -> String? {
    switch name {
    case "input_layernorm": "attn_norm"
    case "self_attn.q_proj": "attn_q"
    case "self_attn.k_proj": "attn_k"
    case "self_attn.v_proj": "attn_v"
    case "self_attn.qkv_proj": "attn_qkv"
    case "self_attn.o_proj": "attn_output"
    case "self_attn.q_norm": "attn_q_norm"
    case "self_attn.k_norm": "attn_k_norm"
    case "mlp.gate_proj": "ffn_gate"
    case "mlp.up_proj", "mlp.gate_up_proj": "ffn_up"
    case "mlp.down_proj": "ffn_down"
    case "post_attention_layernorm": architecture == "gemma3" ? "post_attention_norm" : "ffn_norm"
    case "pre_feedforward_layernorm": "ffn_norm"
    case "post_feedforward_layernorm": "post_ffw_norm"
    default: nil
    }
  }

  /// Which way rows are brought from one order to the other.
  enum Direction { case toGGUF, fromGGUF }

  /// The order in which the rows of a tensor, by its name in transformers, are to be taken; `nil` for as they are.
  ///
  /// llama.cpp rotates neighbours (2i, 2i + 1) in Llama and SmolLM3, transformers halves (i, i + d/2): its converter
  /// reorders the rows of each head of queries and keys.
  func rowOrder(of name: String, rows: Int, _ transformer: TransformerConfiguration, _ direction: Direction) -> [Int]? {
    guard architecture == "llama" || architecture == "smollm3" else { return nil }
    let heads: Int
    if name.contains(".q_proj.") {
      heads = transformer.attentionHeads
    } else if name.contains(".k_proj.") {
      heads = transformer.keyValueHeads
    } else {
      return nil
    }
    guard heads > 0, rows % (2 * heads) == 0 else { return nil }
    let size = rows / heads
    return (0..<rows).map { row in
      let within = row % size
      return switch direction {
      case .fromGGUF: row - within + within % (size / 2) * 2 + within / (size / 2)
      case .toGGUF: row - within + within % 2 * (size / 2) + within / 2
      }
    }
  }
}
