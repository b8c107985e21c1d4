import Checkpoints
import Diagnostics
import OrderedJSON
import Tensors

extension GGUFArchitecture {
  /// Qwen3.5, dense. Where several value heads of linear attention share a key head, llama.cpp has the first ones of
  /// all key heads before the second ones.
  static let qwen35 = GGUFArchitecture(
    name: "qwen35", headOrder: valueHeadOrder,
    renamedParts: [
      "post_attention_layernorm": "post_attention_norm", "linear_attn.in_proj_qkv": "attn_qkv",
      "linear_attn.in_proj_z": "attn_gate", "linear_attn.in_proj_b": "ssm_beta", "linear_attn.in_proj_a": "ssm_alpha",
      "linear_attn.out_proj": "ssm_out", "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm",
    ],
    renamedTensors: ["linear_attn.A_log": "ssm_a", "linear_attn.dt_bias": "ssm_dt.bias"],
    negatedExponentials: ["linear_attn.A_log"], writesRotaryDim: true, features: [.partialRotation, .yarn],
    check: checkQwen35, writeHeader: writeQwen35Header, readHeader: readQwen35Header)

  @Sendable private static func valueHeadOrder(
    _ name: String, _ transformer: TransformerConfiguration
  ) -> HeadOrder? {
    guard let (shape, _) = transformer.delta, shape.keyHeads != shape.valueHeads else { return nil }
    let shared = shape.valueHeads / shape.keyHeads
    let heads = (0..<shape.valueHeads).map { $0 % shape.keyHeads * shared + $0 / shape.keyHeads }
    let parts = ModuleNames.inLayer(name).split(separator: ".")
    guard parts.count > 1, parts[0] == "linear_attn" else { return nil }
    return switch parts[1] {
    case "in_proj_qkv", "conv1d":
      HeadOrder(axis: .rows, first: 2 * shape.keyColumns, headDim: shape.valueDim, heads: heads)
    case "in_proj_z": HeadOrder(axis: .rows, headDim: shape.valueDim, heads: heads)
    case "in_proj_a", "in_proj_b", "A_log", "dt_bias": HeadOrder(axis: .rows, headDim: 1, heads: heads)
    case "out_proj": HeadOrder(axis: .columns, headDim: shape.valueDim, heads: heads)
    default: nil
    }
  }

  @Sendable private static func checkQwen35(
    _ transformer: TransformerConfiguration, _ refusal: (String) -> SwiftletError
  ) throws(SwiftletError) {
    guard let (shape, _) = transformer.delta else { throw refusal("models without linear attention") }
    if shape.keyDim != shape.valueDim { throw refusal("linear_value_head_dim other than linear_key_head_dim") }
  }

  @Sendable private static func writeQwen35Header(
    _ transformer: TransformerConfiguration, _ header: inout GGUFHeader
  ) {
    guard let (shape, length) = transformer.delta else { return }
    header.set("ssm.conv_kernel", length)
    header.set("ssm.state_size", shape.keyDim)
    header.set("ssm.group_count", shape.keyHeads)
    header.set("ssm.time_step_rank", shape.valueHeads)
    header.set("ssm.inner_size", shape.valueColumns)
    let isLinear = transformer.layers.map { $0.mixer != .attention }
    header.set("attention.recurrent_layers", .array(.bool(isLinear)))
    // What programs go by that don't know the key above.
    let interval = isLinear.firstIndex(of: false).map { $0 + 1 } ?? 4
    let isRegular = isLinear.indices.allSatisfy { isLinear[$0] == (($0 + 1) % interval != 0) }
    header.set("full_attention_interval", isRegular ? interval : 4)
    // The frequencies that stand for time, height and width in turn. In texts all three are the same.
    let count = (transformer.globalRotary?.rotaryDim ?? 0) / 2
    let sections = (0..<3).map { Int32(clamping: (count + 2 - $0) / 3) }
    header.set("rope.dimension_sections", .array(.int32(sections + [0])))
  }

  @Sendable private static func readQwen35Header(_ file: GGUFFile, _ config: inout JSONObject) {
    func value(_ key: String) -> GGUFValue? { file.metadata["qwen35.\(key)"] }
    func integer(_ key: String) -> Int? { value(key)?.integer }
    for (key, ggufKey) in [
      ("linear_conv_kernel_dim", "ssm.conv_kernel"), ("linear_num_key_heads", "ssm.group_count"),
      ("linear_num_value_heads", "ssm.time_step_rank"), ("linear_key_head_dim", "ssm.state_size"),
      ("linear_value_head_dim", "ssm.state_size"),
    ] {
      config[key] = integer(ggufKey).map { .integer($0) }
    }
    // The last blocks may predict further tokens, and are no layers.
    let blocks = integer("block_count") ?? 0
    let count = blocks - min(blocks, max(0, integer("nextn_predict_layers") ?? 0))
    config["num_hidden_layers"] = .integer(count)
    let interval = max(1, integer("full_attention_interval") ?? 4)
    let given = value("attention.recurrent_layers")?.bools
    // Longer lists are refused when the configuration is read.
    let isLinear = given.map { Array($0.prefix(count)) } ?? (0..<min(count, 1000)).map { ($0 + 1) % interval != 0 }
    config["layer_types"] = .array(isLinear.map { $0 ? "linear_attention" : "full_attention" })
    var positions = JSONObject([("rope_type", "default")])
    for (key, value) in config["rope_scaling"]?.object?.members ?? [] { positions[key] = value }
    for key in ["rope_theta", "partial_rotary_factor"] {
      positions[key] = config[key]
      config[key] = nil
    }
    config["rope_scaling"] = nil
    if let sections = value("rope.dimension_sections")?.integers {
      positions["mrope_section"] = .array(sections.prefix(3).map { .integer($0) })
      positions["mrope_interleaved"] = true
    }
    // Without the key, whole heads are rotated, and transformers would rotate a quarter.
    if positions["partial_rotary_factor"] == nil { positions["partial_rotary_factor"] = 1 }
    config["rope_parameters"] = .object(positions)
  }
}

extension TransformerConfiguration {
  /// The linear attention of the first layer that has it, and the length of its convolution.
  fileprivate var delta: (shape: DeltaShape, length: Int)? {
    for case .gatedDelta(let shape, let length) in layers.map(\.mixer) { return (shape, length) }
    return nil
  }
}
