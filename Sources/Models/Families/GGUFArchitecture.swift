import Checkpoints
import Diagnostics
import OrderedJSON
import Tensors

/// How llama.cpp stores a family: its architecture's name, tensors, row order and header keys. The defaults are those
/// of most architectures.
struct GGUFArchitecture: Sendable {
  /// `general.architecture`, and the prefix of the header keys.
  let name: String
  /// Whether the converter reorders the rows of q and k. llama.cpp then rotates neighbors (2i, 2i + 1), where
  /// transformers rotates halves (i, i + d/2).
  var permutesQueryKeyRows = false
  /// Heads of a tensor, as transformers calls it, that the converter reorders; `nil` if it keeps their order.
  var headOrder: @Sendable (String, TransformerConfiguration) -> HeadOrder? = { _, _ in nil }
  /// Names of layer parts that differ from `partNames`.
  var renamedParts: [String: String] = [:]
  /// Names of tensors of a layer that aren't the name of their part with the same end.
  var renamedTensors: [String: String] = [:]
  /// The tensors of layers that it holds as −exp(x), by transformers' names.
  var negatedExponentials: Set<String> = []
  /// Whether the converter writes `vocab_size`.
  var writesVocabularySize = false
  /// Whether the converter writes `rope.dimension_count`.
  var writesRotaryDim = false
  /// What llama.cpp's graph of the architecture can compute.
  var features: Features = []
  /// `tokenizer.ggml.model` of tokenizers that replace spaces by marks and unknown characters by bytes.
  var spaceTokenizer = "llama"
  /// The layers that LoRA updates of an adapter have no effect on, by their names.
  var layersWithoutLoRA: Set<String> = []
  /// Whether it always has a head dim of hidden size / heads, and no key for another one.
  var derivesHeadDim = false
  /// Whether llama.cpp applies sliding windows. If not, exports get a note.
  var appliesWindows = false
  /// The name to store as `general.name`, given the requested name and the tokenizer's type.
  var modelName: @Sendable (_ name: String, _ tokenizerModel: String) -> String = { name, _ in name }
  /// Throws for a configuration that the architecture can't express; the argument creates the error.
  var check: @Sendable (TransformerConfiguration, (String) -> SwiftletError) throws(SwiftletError) -> Void = { _, _ in }
  /// Adds header keys that only this architecture has.
  var writeHeader: @Sendable (TransformerConfiguration, inout GGUFHeader) -> Void = { _, _ in }
  /// Adds to config.json what only this architecture's header says.
  var readHeader: @Sendable (GGUFFile, inout JSONObject) -> Void = { _, _ in }

  /// Parts of the computation that only some graphs in llama.cpp have.
  struct Features: OptionSet, Sendable {
    let rawValue: Int
    /// Biases on the attention's output and on the MLP.
    static let biases = Features(rawValue: 1)
    /// Rotary embedding of only a part of each head.
    static let partialRotation = Features(rawValue: 2)
    /// One factor per frequency, as in Llama 3.1.
    static let ropeFactors = Features(rawValue: 4)
    /// Phi-3's short and long factors.
    static let longRope = Features(rawValue: 8)
    /// YaRN's scaling of positions (arXiv:2309.00071).
    static let yarn = Features(rawValue: 16)
    /// Queries that are scaled up with their position (Llama 4's temperature tuning).
    static let queryGrowth = Features(rawValue: 32)
    /// YaRN whose bounds aren't rounded in the reference, although llama.cpp rounds them.
    static let exactYarn = Features(rawValue: 64)
    /// Frequencies of zero in layers with full attention, as Gemma 4 has them.
    static let proportionalRope = Features(rawValue: 128)
  }

  // MARK: Tensor names

  /// llama.cpp's name for the tensor that transformers calls `moduleName`; `nil` if it has none.
  func tensorName(of moduleName: String) -> String? {
    let name = ModuleNames.textOnly(moduleName)
    switch name {
    case "model.embed_tokens.weight": return "token_embd.weight"
    case "model.norm.weight": return "output_norm.weight"
    case "lm_head.weight": return "output.weight"
    default: break
    }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    if parts.count == 3, parts[0] == "model" { return renamedParts[String(parts[1])].map { "\($0).\(parts[2])" } }
    guard parts.count >= 4, parts[0] == "model", parts[1] == "layers", let layer = Int(parts[2]), layer >= 0,
      let kind = parts.last
    else { return nil }
    // A tensor of the layer itself.
    if parts.count == 4 { return renamedParts[String(kind)].map { "blk.\(layer).\($0).weight" } }
    if let tensor = renamedTensors[parts[3...].joined(separator: ".")] { return "blk.\(layer).\(tensor)" }
    let part = parts[3..<parts.count - 1].joined(separator: ".")
    if part == "self_attn", kind == "sinks" { return "blk.\(layer).attn_sinks.weight" }
    return (renamedParts[part] ?? Self.partNames[part]).map { "blk.\(layer).\($0).\(kind)" }
  }

  /// llama.cpp's names for the parts of a layer.
  private static let partNames = [
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
  ]

  /// The tensor of all experts that holds `moduleName`, one expert's matrix, and the expert's number; `nil` if it is none.
  func expertTensorName(of moduleName: String) -> (name: String, expert: Int)? {
    let parts = ModuleNames.textOnly(moduleName).split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 8, parts[0] == "model", parts[1] == "layers", let layer = Int(parts[2]), layer >= 0,
      parts[4] == "experts", let expert = Int(parts[5]), expert >= 0,
      let part = Self.partNames["mlp.\(parts[6])"]
    else { return nil }
    return ("blk.\(layer).\(part)_exps.\(parts[7])", expert)
  }

  /// Whether it holds the tensor that transformers calls `name` as −exp(x).
  func holdsNegatedExponential(of name: String) -> Bool { negatedExponentials.contains(ModuleNames.inLayer(name)) }

  // MARK: Order of rows and columns

  /// A conversion between the two orders.
  enum Direction { case toGGUF, fromGGUF }

  /// Heads that files have in another order than transformers, as rows or as columns of a tensor.
  struct HeadOrder: Sendable {
    enum Axis { case rows, columns }

    let axis: Axis
    /// The number of rows or columns before the first of these heads.
    var first = 0
    let headDim: Int
    /// For each head in the file, that in transformers.
    let heads: [Int]

    /// The number of all rows or columns.
    var count: Int { first + heads.count * headDim }

    /// For each head after the conversion, the one to take.
    func columns(_ direction: Direction) -> ColumnOrder {
      let order = ColumnOrder(runs: heads, length: headDim)
      return direction == .toGGUF ? order : order.inverse
    }

    /// For each row after the conversion, the one to take.
    func rows(_ direction: Direction) -> [Int] {
      Array(0..<first) + columns(direction).runs.flatMap { head in (0..<headDim).map { first + head * headDim + $0 } }
    }
  }

  /// For each run of columns of the result, the one to copy; `nil` if the columns of tensor `name` (as transformers
  /// calls it) keep their order.
  func columnOrder(
    of name: String, columns: Int, _ configuration: TransformerConfiguration, _ direction: Direction
  ) -> ColumnOrder? {
    guard let order = headOrder(name, configuration), order.axis == .columns, order.count == columns else { return nil }
    return order.columns(direction)
  }

  /// For each row of the result, the row to copy; `nil` if the rows of tensor `name` (as transformers calls it) keep
  /// their order.
  func rowOrder(
    of name: String, rows: Int, _ configuration: TransformerConfiguration, _ direction: Direction
  ) -> [Int]? {
    if let order = headOrder(name, configuration), order.axis == .rows, order.count == rows {
      return order.rows(direction)
    }
    guard permutesQueryKeyRows else { return nil }
    let heads: Int
    if name.contains(".q_proj.") {
      heads = configuration.attentionHeads
    } else if name.contains(".k_proj.") {
      heads = configuration.keyValueHeads
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
