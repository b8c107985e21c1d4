import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// Granite 3's mixtures of experts: Granite with experts whose matrices files hold together.
  static let graniteMoE = Family(
    modelTypes: ["granitemoe"], defaults: ["intermediate_size": 11008], className: "GraniteMoeForCausalLM",
    endOfTurnTokens: ["<|end_of_text|>"], classifier: .missing, gguf: .graniteMoE
  ) { transformer, config throws(SwiftletError) in
    try transformer.readGranite(config)
    transformer.mlpInputs = ["gate_up_proj"]
    transformer.moduleNames = ["mlp": "block_sparse_moe", "mlp.gate": "block_sparse_moe.router"]
    transformer.fileNames = [
      "block_sparse_moe.experts.gate_up_proj": "block_sparse_moe.input_linear",
      "block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear",
      "block_sparse_moe.router": "block_sparse_moe.router.layer",
    ]
    var experts = TransformerConfiguration.Experts(
      count: try config.optionalSize("num_local_experts", atMost: 4096) ?? 8,
      chosen: try config.optionalSize("num_experts_per_tok", atMost: 4096) ?? 2,
      intermediateSize: transformer.intermediateSize, normalizesWeights: true, storage: .stacks)
    try config.readCommon(&experts, countKey: "num_local_experts")
    for index in transformer.layers.indices { transformer.layers[index].experts = experts }
  }
}

extension GGUFArchitecture {
  fileprivate static let graniteMoE = granite(
    "granitemoe", renamedParts: ["block_sparse_moe.router": "ffn_gate_inp"],
    readExperts: { file, config in
      for (key, ggufKey) in [("num_local_experts", "expert_count"), ("num_experts_per_tok", "expert_used_count")] {
        config[key] = file.metadata["granitemoe.\(ggufKey)"]?.integer.map { .integer($0) }
      }
    })
}
