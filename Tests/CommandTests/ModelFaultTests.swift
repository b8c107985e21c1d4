import Foundation
import OrderedJSON
import Testing

/// Model folders, GGUF files and adapters that are damaged, hostile or do not belong together.
@Suite struct ModelFaultTests {
  private static func generate(
    _ name: String, _ mentions: String..., model: String = "m",
    prepare: @escaping @Sendable (Workspace) throws -> Void
  ) -> Fault {
    Fault(
      name, status: 1, "generate --model \(model) --prompt hi --max-new-tokens 2", mentions: mentions, prepare: prepare)
  }

  // MARK: config.json

  /// Inspects a `config.json` with one changed value; the folder has no other files.
  private static func config(_ key: String, _ value: JSONValue?, _ mentions: String...) -> Fault {
    Fault(
      "config.json with \(key): \(value?.text() ?? "none")", status: 1, "inspect config.json", mentions: mentions
    ) { workspace in
      var object = try #require(try workspace.json("m/config.json").object)
      object[key] = value
      try workspace.write("config.json", JSONValue.object(object).text())
    }
  }

  static let configurations = [
    config("model_type", "wizard", "config.json", "\"wizard\"", "llama"), config("model_type", 7, "\"model_type\""),
    config("model_type", nil, "\"model_type\""), config("hidden_size", "64", "\"hidden_size\""),
    config("hidden_size", 0, "\"hidden_size\""), config("hidden_size", -64, "\"hidden_size\""),
    config("hidden_size", .integer(1 << 31), "config.json", "hidden_size"),
    config("hidden_size", 1e300, "\"hidden_size\""), config("vocab_size", nil, "\"vocab_size\""),
    config("vocab_size", .integer(.max), "\"vocab_size\""),
    config("intermediate_size", .integer(1 << 31), "intermediate_size"),
    config("num_hidden_layers", .integer(1 << 31), "num_hidden_layers"),
    config("num_attention_heads", 3, "num_attention_heads"), config("num_key_value_heads", 3, "num_key_value_heads"),
    config("num_attention_heads", .integer(1 << 31), "config.json"), config("head_dim", 7, "7"),
    config("head_dim", .integer(1 << 31), "head_dim"), config("rms_norm_eps", "small", "\"rms_norm_eps\""),
    config("tie_word_embeddings", "yes", "\"tie_word_embeddings\""), config("hidden_act", "wavy", "\"wavy\""),
    config("rope_parameters", ["rope_type": "magic"], "\"magic\"", "longrope"),
    config("rope_parameters", ["rope_type": "linear"], "\"factor\""),
    config("rope_parameters", ["rope_type": "default", "rope_theta": -1], "rope_theta"),
  ]

  // MARK: safetensors

  /// A folder whose weights have a changed header.
  private static func header(
    _ name: String, _ mentions: String..., change: @escaping @Sendable (inout JSONObject) -> Void
  ) -> Fault {
    Fault(name, status: 1, "generate --model m --prompt hi", mentions: mentions) { workspace in
      let data = try workspace.data("m/model.safetensors")
      let length = Int(
        data.prefix(8).enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << UInt64(8 * $1.offset) })
      var object = try #require(try JSONValue(parsing: data[8..<8 + length]).object)
      change(&object)
      var text = JSONValue.object(object).text()
      while text.utf8.count % 8 != 0 { text += " " }
      try workspace.write(
        "m/model.safetensors", Bytes.of(UInt64(text.utf8.count)) + Data(text.utf8) + data[(8 + length)...])
    }
  }

  private static func tensor(_ key: String, _ value: JSONValue) -> @Sendable (inout JSONObject) -> Void {
    { header in
      var tensor = header["lm_head.weight"]?.object ?? JSONObject()
      tensor[key] = value
      header["lm_head.weight"] = .object(tensor)
    }
  }

  static let weights = [
    header("an offset beyond the file", "lm_head.weight", change: tensor("data_offsets", [0, .integer(1 << 62)])),
    header("a negative offset", "lm_head.weight", change: tensor("data_offsets", [-8, 8])),
    header("offsets that are text", "lm_head.weight", change: tensor("data_offsets", "all")),
    header("an impossible shape", "lm_head.weight", change: tensor("shape", [.integer(1 << 40), .integer(1 << 40)])),
    header("a negative extent", "lm_head.weight", change: tensor("shape", [-64, -256])),
    header("an unknown type", "lm_head.weight", "\"X9\"", change: tensor("dtype", "X9")),
    header("whole numbers as weights", "lm_head.weight", "int32", change: tensor("dtype", "I32")),
    header("a transposed matrix", "lm_head.weight", "[64, 256]", change: tensor("shape", [64, 256])),
    header("a tensor of another name", "lm_head.weight", "missing") {
      $0["other"] = $0["lm_head.weight"]
      $0["lm_head.weight"] = nil
    },
    header("a tensor that is no object", "lm_head.weight") { $0["lm_head.weight"] = 3 },
    generate("weights cut short", "model.safetensors", "truncated") {
      try $0.write("m/model.safetensors", try $0.data("m/model.safetensors").prefix(20_000))
    },
    generate("a header cut short", "model.safetensors", "truncated") {
      try $0.write("m/model.safetensors", try $0.data("m/model.safetensors").prefix(100))
    },
    generate("a header of 2^63 bytes", "model.safetensors", "9223372036854775808") {
      try $0.write("m/model.safetensors", Bytes.of(UInt64(1) << 63) + Data("{}".utf8))
    },
    generate("a header of -1 bytes", "model.safetensors") {
      try $0.write("m/model.safetensors", Bytes.of(UInt64.max) + Data("{}".utf8))
    },
    generate("a header that is no JSON", "model.safetensors", "JSON") {
      try $0.write("m/model.safetensors", Bytes.of(UInt64(8)) + Data("not json".utf8))
    },
    generate("weights of another format", "model.safetensors") { try $0.write("m/model.safetensors", "hello") },
    generate("empty weights", "model.safetensors", "empty") { try $0.write("m/model.safetensors", "") },
    generate("an index of a shard that is missing", "nope.safetensors") {
      try $0.remove("m/model.safetensors")
      try $0.write("m/model.safetensors.index.json", #"{"weight_map": {"lm_head.weight": "nope.safetensors"}}"#)
    },
    generate("an index without a map", "weight_map") {
      try $0.remove("m/model.safetensors")
      try $0.write("m/model.safetensors.index.json", "{}")
    },
    generate("an index that leads out of the folder", "index.json") {
      try $0.remove("m/model.safetensors")
      try $0.write("m/model.safetensors.index.json", #"{"weight_map": {"lm_head.weight": "../../secret"}}"#)
    },
    generate("more layers than weights", "model.layers.2", "missing") {
      var config = try #require(try $0.json("m/config.json").object)
      config["num_hidden_layers"] = 3
      try $0.write("m/config.json", JSONValue.object(config).text())
    },
    generate("no config.json", "config.json") { try $0.remove("m/config.json") },
    generate("a broken config.json", "config.json", "line 1") { try $0.write("m/config.json", "{") },
    generate("a config.json that is a list", "config.json") { try $0.write("m/config.json", "[]") },
    generate("no weights", "model.safetensors") { try $0.remove("m/model.safetensors") },
    generate("no tokenizer", "tokenizer.json") { try $0.remove("m/tokenizer.json") },
    generate("a tokenizer cut short", "tokenizer.json") {
      try $0.write("m/tokenizer.json", try $0.data("m/tokenizer.json").prefix(500))
    },
    generate("a tokenizer without vocabulary", "tokenizer.json", "vocab") {
      try $0.write("m/tokenizer.json", #"{"model": {"type": "BPE", "vocab": 3}}"#)
    },
    generate("an end token that is a number", "tokenizer_config.json", "eos_token") {
      try $0.write("m/tokenizer_config.json", #"{"eos_token": 8}"#)
    },
    generate("a broken chat template", "m", "chat template", "line 1") {
      try $0.write("m/tokenizer_config.json", #"{"chat_template": "{% for"}"#)
    },
    generate("a prompt beyond the context", "context", "4") {
      var config = try #require(try $0.json("m/config.json").object)
      config["max_position_embeddings"] = 4
      try $0.write("m/config.json", JSONValue.object(config).text())
    },
  ]

  // MARK: GGUF

  private static func gguf(
    _ name: String, _ mentions: String..., change: @escaping @Sendable (inout Data) -> Void
  ) -> Fault {
    Fault(
      "GGUF: \(name)", status: 1, "generate --model bad.gguf --prompt hi", mentions: ["bad.gguf"] + mentions
    ) { workspace in
      var data = try Data(contentsOf: Workspace.goldens.appendingPathComponent("models/phi3/model.gguf"))
      change(&data)
      try workspace.write("bad.gguf", data)
    }
  }

  /// A file of one metadata entry and no tensors.
  private static func entry(_ key: String, type: UInt32, _ value: Data) -> Data {
    Data("GGUF".utf8) + Bytes.of(UInt32(3)) + Bytes.of(UInt64(0)) + Bytes.of(UInt64(1))
      + Bytes.of(UInt64(key.utf8.count))
      + Data(key.utf8) + Bytes.of(type) + value
  }

  static let ggufs = [
    gguf("empty", "empty") { $0 = Data() }, gguf("header only", "truncated") { $0 = $0.prefix(24) },
    gguf("cut in its metadata", "truncated") { $0 = $0.prefix(2000) },
    gguf("cut in half", "past the end of the file") { $0 = $0.prefix($0.count / 2) },
    gguf("cut by a few bytes", "past the end of the file") { $0 = $0.dropLast(50) },
    gguf("another format", "not a GGUF file") { $0.replaceSubrange(0..<4, with: Data("GGML".utf8)) },
    gguf("an unknown version", "version 9") { $0.replaceSubrange(4..<8, with: Bytes.of(UInt32(9))) },
    gguf("2^62 tensors", "4611686018427387904") { $0.replaceSubrange(8..<16, with: Bytes.of(UInt64(1) << 62)) },
    gguf("2^63 entries", "9223372036854775808") { $0.replaceSubrange(16..<24, with: Bytes.of(UInt64(1) << 63)) },
    gguf("a key of 2^63 bytes", "key") { $0.replaceSubrange(24..<32, with: Bytes.of(UInt64.max >> 1)) },
    gguf("an array of 2^40 strings", "1099511627776") {
      $0 = entry("k", type: 9, Bytes.of(UInt32(8)) + Bytes.of(UInt64(1) << 40))
    },
    gguf("arrays in arrays without end", "\"k\"") {
      let nested = Bytes.of(UInt32(9)) + Bytes.of(UInt64(1))
      $0 = entry("k", type: 9, (0..<50_000).reduce(into: Data()) { data, _ in data += nested })
    },
    gguf("a value of unknown type", "\"k\"") { $0 = entry("k", type: 77, Data(count: 16)) },
    gguf("no architecture", "general.architecture") { $0 = entry("k", type: 0, Data(count: 1)) },
    gguf("an unknown architecture", "\"wizard\"") {
      $0 = entry("general.architecture", type: 8, Bytes.of(UInt64(6)) + Data("wizard".utf8))
    },
    gguf("no sizes", "missing") {
      $0 = entry("general.architecture", type: 8, Bytes.of(UInt64(5)) + Data("llama".utf8))
    },
    Fault("rows as a model", status: 1, "inspect rows.jsonl", mentions: ["rows.jsonl", "not a GGUF file"]),
  ]

  @Test(arguments: configurations + weights + ggufs) func isOneSentence(_ fault: Fault) async throws {
    try await fault.check()
  }
}

/// Numbers in the byte order of files.
enum Bytes {
  static func of<Scalar: FixedWidthInteger>(_ scalar: Scalar) -> Data {
    withUnsafeBytes(of: scalar.littleEndian) { Data($0) }
  }
}
