import Checkpoints
import Diagnostics
import OrderedJSON

extension Family {
  /// LFM2 and LFM2.5: gated short convolutions in most layers, attention with norms on heads in the others.
  static let lfm2 = Family(
    modelTypes: ["lfm2"],
    defaults: [
      "num_key_value_heads": 8, "max_position_embeddings": 128_000, "norm_eps": 1e-5,
      "rope_theta": 1_000_000,
    ],
    className: "Lfm2ForCausalLM", endOfTurnTokens: ["<|im_end|>"], classifier: .missing,
    mlxEntries: { transformer, json in
      // Published files have these; transformers 5 leaves them out.
      guard json["block_dim"] == nil else { return [] }
      return [
        ("block_dim", .integer(transformer.hiddenSize)), ("block_ff_dim", .integer(transformer.intermediateSize)),
        ("block_auto_adjust_ff_dim", false), ("block_multiple_of", 256), ("block_ffn_dim_multiplier", 1.0),
      ]
    }, gguf: .lfm2
  ) { transformer, config throws(SwiftletError) in
    transformer.moduleNames = [
      "norm": "embedding_norm", "input_layernorm": "operator_norm",
      "post_attention_layernorm": "ffn_norm",
      "self_attn.o_proj": "self_attn.out_proj", "self_attn.q_norm": "self_attn.q_layernorm",
      "self_attn.k_norm": "self_attn.k_layernorm", "mlp.gate_proj": "feed_forward.w1",
      "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2",
    ]
    transformer.hasQueryKeyNorms = true
    transformer.normEpsilon = Float(try config.optionalNumber("norm_eps") ?? 1e-5)
    let ties = try config.optionalBool("tie_embedding")
    let tiesWords = try config.optionalBool("tie_word_embeddings")
    transformer.tiesEmbeddings = ties ?? tiesWords ?? true
    transformer.intermediateSize = try config.lfm2IntermediateSize(transformer.intermediateSize)
    let length = try config.optionalSize("conv_L_cache", atMost: 64) ?? 3
    let hasBias = try config.optionalBool("conv_bias") ?? false
    let types = config.json["layer_types"]?.array?.map { $0.string ?? "" }
    let attention = config.json["full_attn_idxs"]?.array?.compactMap(\.integer)
    for index in transformer.layers.indices {
      let isListed = types.map { $0.indices.contains(index) && $0[index] != "conv" }
      let isAttention = isListed ?? attention?.contains(index) ?? true
      guard !isAttention else { continue }
      transformer.layers[index] = .init(
        mixer: .shortConvolution(length: length, hasBias: hasBias), rotary: nil)
    }
  }
}

extension ConfigurationReader {
  /// `intermediate_size` (`block_ff_dim` in published files), adjusted as LFM2's MLP does.
  fileprivate func lfm2IntermediateSize(_ common: Int) throws(SwiftletError) -> Int {
    var size = try optionalSize("block_ff_dim", atMost: 1 << 22) ?? common
    guard try optionalBool("block_auto_adjust_ff_dim") ?? true else { return size }
    size = 2 * size / 3
    // A missing key means 1, null no multiplier and no rounding.
    let isNull = json["block_ffn_dim_multiplier"]?.isNull == true
    let factor = isNull ? nil : try optionalNumber("block_ffn_dim_multiplier") ?? 1
    if let factor {
      guard factor > 0, factor <= 64 else {
        throw error("block_ffn_dim_multiplier must be positive (got \(factor))")
      }
      let multiple = try optionalSize("block_multiple_of", atMost: 1 << 20) ?? 256
      size = (Int(factor * Double(size)) + multiple - 1) / multiple * multiple
    }
    guard size > 0 else { throw error("intermediate_size is too small") }
    return size
  }
}

extension GGUFArchitecture {
  fileprivate static let lfm2 = GGUFArchitecture(
    name: "lfm2",
    renamedParts: [
      "embedding_norm": "token_embd_norm", "operator_norm": "attn_norm", "ffn_norm": "ffn_norm",
      "self_attn.out_proj": "attn_output", "self_attn.q_layernorm": "attn_q_norm",
      "self_attn.k_layernorm": "attn_k_norm", "feed_forward.w1": "ffn_gate",
      "feed_forward.w3": "ffn_up",
      "feed_forward.w2": "ffn_down", "conv.in_proj": "shortconv.in_proj",
      "conv.out_proj": "shortconv.out_proj",
      "conv.conv": "shortconv.conv",
    ],
    writesVocabularySize: true, derivesHeadDim: true,
    check: { transformer, refusal throws(SwiftletError) in
      let hasBias = transformer.layers.contains { layer in
        if case .shortConvolution(_, let hasBias) = layer.mixer { hasBias } else { false }
      }
      if hasBias { throw refusal("conv_bias") }
    },
    writeHeader: { transformer, header in
      let heads = transformer.layers.map {
        $0.mixer == .attention ? Int32(clamping: transformer.keyValueHeads) : 0
      }
      header.set("attention.head_count_kv", .array(.int32(heads)))
      for case .shortConvolution(let length, _) in transformer.layers.map(\.mixer) {
        header.set("shortconv.l_cache", length)
      }
    },
    readHeader: { file, config in
      config["block_auto_adjust_ff_dim"] = false
      config["norm_eps"] = config["rms_norm_eps"]
      if let length = file.metadata["lfm2.shortconv.l_cache"]?.integer {
        config["conv_L_cache"] = .integer(length)
      }
      if let heads = file.metadata["lfm2.attention.head_count_kv"]?.integers {
        config["num_key_value_heads"] = heads.max().map { .integer($0) }
        config["layer_types"] = .array(heads.map { $0 > 0 ? "full_attention" : "conv" })
      }
    })
}
