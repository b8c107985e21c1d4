import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

/// A GGUF file presented as a Hugging Face checkpoint: its header as a `config.json`, and its tensors under
/// transformers' names and in its row order.
struct GGUFModel: Sendable {
  let file: GGUFFile
  let path: String
  let configuration: JSONValue
  private let architecture: GGUFArchitecture

  /// - Throws: `SwiftletError` if the architecture is missing or not supported.
  init(_ file: GGUFFile, path: String) throws(SwiftletError) {
    self.file = file
    self.path = path
    guard let name = file.metadata["general.architecture"]?.string else {
      throw SwiftletError.model(
        "the header has no general.architecture; use a GGUF file of a language model", in: path)
    }
    guard let family = Family.reading(architecture: name), let architecture = family.gguf,
      let modelType = family.modelTypes.first
    else {
      let known = Family.supportedArchitectures.joined(separator: ", ")
      throw SwiftletError.model("architecture \(name.quotedExcerpt) is not supported; use one of \(known)", in: path)
    }
    self.architecture = architecture
    configuration = Self.configuration(file, architecture, modelType: modelType)
  }

  // MARK: Header

  private static func configuration(
    _ file: GGUFFile, _ architecture: GGUFArchitecture, modelType: String
  ) -> JSONValue {
    var config = JSONObject([("model_type", .string(modelType))])
    func integer(_ key: String, _ ggufKey: String) {
      if let value = file.metadata["\(architecture.name).\(ggufKey)"]?.integer, value > 0 {
        config[key] = .integer(value)
      }
    }
    func number(_ key: String, _ ggufKey: String) {
      if let value = file.metadata["\(architecture.name).\(ggufKey)"]?.double { config[key] = .number(value) }
    }
    integer("hidden_size", "embedding_length")
    integer("intermediate_size", "feed_forward_length")
    integer("num_attention_heads", "attention.head_count")
    integer("num_key_value_heads", "attention.head_count_kv")
    integer("num_hidden_layers", "block_count")
    integer("max_position_embeddings", "context_length")
    integer("head_dim", "attention.key_length")
    integer("sliding_window", "attention.sliding_window")
    number("rms_norm_eps", "attention.layer_norm_rms_epsilon")
    number("rope_theta", "rope.freq_base")
    if let embedding = file.tensor(named: "token_embd.weight") { config["vocab_size"] = .integer(embedding.rows) }
    config["tie_word_embeddings"] = .bool(file.tensor(named: "output.weight") == nil)
    config["attention_bias"] = .bool(file.tensor(named: "blk.0.attn_output.bias") != nil)
    config["mlp_bias"] = .bool(file.tensor(named: "blk.0.ffn_down.bias") != nil)
    if let scaling = ropeScaling(file, architecture.name) { config["rope_scaling"] = scaling }
    if let rotaryDim = file.metadata["\(architecture.name).rope.dimension_count"]?.integer,
      let headDim = config["head_dim"]?.integer ?? headDim(config), rotaryDim < headDim
    {
      config["partial_rotary_factor"] = .number(Double(rotaryDim) / Double(headDim))
    }
    architecture.readHeader(file, &config)
    return .object(config)
  }

  private static func headDim(_ config: JSONObject) -> Int? {
    guard let hiddenSize = config["hidden_size"]?.integer, let heads = config["num_attention_heads"]?.integer, heads > 0
    else { return nil }
    return hiddenSize / heads
  }

  private static func ropeScaling(_ file: GGUFFile, _ architecture: String) -> JSONValue? {
    func values(_ name: String) -> JSONValue? {
      guard let tensor = file.tensor(named: name) else { return nil }
      return .array(CPUBackend.shared.floats(tensor).map { .number(Double($0)) })
    }
    if let factors = values("rope_freqs.weight") { return ["rope_type": "factors", "factors": factors] }
    if let short = values("rope_factors_short.weight"), let long = values("rope_factors_long.weight") {
      var scaling = JSONObject([("rope_type", "longrope"), ("short_factor", short), ("long_factor", long)])
      if let original = file.metadata["\(architecture).rope.scaling.original_context_length"]?.integer {
        scaling["original_max_position_embeddings"] = .integer(original)
      }
      if let factor = file.metadata["\(architecture).rope.scaling.attn_factor"]?.double {
        scaling["attention_factor"] = .number(factor)
      }
      return .object(scaling)
    }
    let type = file.metadata["\(architecture).rope.scaling.type"]?.string
    guard let factor = file.metadata["\(architecture).rope.scaling.factor"]?.double else { return nil }
    if type == "yarn", let original = file.metadata["\(architecture).rope.scaling.original_context_length"]?.integer {
      var scaling = JSONObject([
        ("rope_type", "yarn"), ("factor", .number(factor)), ("original_max_position_embeddings", .integer(original)),
      ])
      for key in ["beta_fast", "beta_slow"] {
        if let value = file.metadata["\(architecture).rope.scaling.yarn_\(key)"]?.double {
          scaling[key] = .number(value)
        }
      }
      return .object(scaling)
    }
    guard type == "linear" else { return nil }
    return ["rope_type": "linear", "factor": .number(factor)]
  }

  /// Tokens besides EOS at which llama.cpp ends an answer: end of turn and end of message.
  var stopTokens: [Int32] {
    ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"].compactMap { key in
      file.metadata[key]?.integer.flatMap { Int32(exactly: $0) }
    }
  }

  // MARK: Tensors

  /// The tensor that transformers calls `name`, or `nil`. Its columns have the order that `columnOrder(of:)` returns.
  /// - Throws: `SwiftletError` for values that can't be what they stand for.
  func tensor(named name: String, configuration: TransformerConfiguration) throws(SwiftletError) -> Tensor? {
    if let (ggufName, expert) = architecture.expertTensorName(of: name) {
      guard let all = file.tensor(named: ggufName), expert < all.shape[0] else { return nil }
      if all.shape.count == 2, all.type.blockLength == 1 {  // biases
        return all.elements(expert * all.columns..<(expert + 1) * all.columns)
      }
      guard all.shape.count == 3 else { return nil }
      let rows = all.shape[1]
      return all.reshaped([all.shape[0] * rows, all.shape[2]]).rows(expert * rows..<(expert + 1) * rows)
    }
    guard let ggufName = architecture.tensorName(of: name), var tensor = file.tensor(named: ggufName) else {
      return nil
    }
    if architecture.holdsNegatedExponential(of: name) { tensor = try logarithms(of: tensor, ggufName) }
    if let order = architecture.columnOrder(of: name, columns: tensor.columns, configuration, .fromGGUF),
      order.keepsBlocks(of: tensor.type)
    {
      return CPUBackend.shared.reorderedColumns(tensor, order)
    }
    let rows = tensor.shape.first ?? 0
    guard let order = architecture.rowOrder(of: name, rows: rows, configuration, .fromGGUF) else { return tensor }
    let matrix = tensor.shape.count == 1 ? tensor.reshaped([rows, 1]) : tensor
    return CPUBackend.shared.permutedRows(matrix, order).reshaped(tensor.shape)
  }

  /// For each run of columns of a tensor whose blocks would have to be cut to reorder it, that in transformers' order.
  func columnOrder(of name: String, configuration: TransformerConfiguration) -> ColumnOrder? {
    guard let ggufName = architecture.tensorName(of: name), let tensor = file.tensor(named: ggufName),
      let order = architecture.columnOrder(of: name, columns: tensor.columns, configuration, .toGGUF),
      !order.keepsBlocks(of: tensor.type)
    else { return nil }
    return order
  }

  /// x of −exp(x).
  private func logarithms(of tensor: Tensor, _ name: String) throws(SwiftletError) -> Tensor {
    let values = CPUBackend.shared.floats(tensor)
    guard values.allSatisfy({ $0 < 0 && $0.isFinite }) else {
      throw SwiftletError.model("\(name) has a value that is not negative; download the file again", in: path)
    }
    return CPUBackend.shared.tensor(values.map { Float(log(-Double($0))) }, tensor.shape)
  }
}
