import Checkpoints
import Foundation
import Models
import OrderedJSON
import Testing
import Tokenizers

/// The tokens that end an answer, read from and written to a model's files.
@Suite struct EndOfSequenceTests {
  /// A copy of the tiny Llama with its tokenizer.
  private static func folder(_ config: [(String, JSONValue?)], generation: JSONValue? = nil) throws -> URL {
    let folder = try AdapterTests.scratch()
    let source = Goldens.folder.appendingPathComponent("models")
    for file in ["llama/model.safetensors", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"] {
      let url = source.appendingPathComponent(file)
      try FileManager.default.copyItem(at: url, to: folder.appendingPathComponent(url.lastPathComponent))
    }
    var json = try #require(Goldens.json("models/llama/config.json").object)
    for (key, value) in config { json[key] = value }
    try Data(JSONValue.object(json).text().utf8).write(to: folder.appendingPathComponent("config.json"))
    if let generation {
      try Data(generation.text().utf8).write(to: folder.appendingPathComponent("generation_config.json"))
    }
    return folder
  }

  @Test func stopTokensOfBothConfigurations() throws {
    func stops(_ config: JSONValue?, _ generation: JSONValue?) throws -> Set<Int32> {
      let folder = try Self.folder([("eos_token_id", config)], generation: generation)
      defer { try? FileManager.default.removeItem(at: folder) }
      return try CausalLM(opening: folder).stopTokens
    }
    let usual = try stops(nil, nil)
    #expect(usual.contains(2) && usual.isDisjoint(with: [77, 78]))
    #expect(try stops([2, 77], nil) == usual.union([77]))
    #expect(try stops(78, nil) == usual.union([78]))
    #expect(try stops(nil, ["eos_token_id": [2, 77]]) == usual.union([77]))
    // transformers reads config.json only if there is no generation_config.json.
    #expect(try stops(78, ["eos_token_id": 77]) == usual.union([77]))
  }

  @Test func stopTokensOfAGGUFHeader() throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = try GGUFFile(contentsOf: Goldens.folder.appendingPathComponent("models/qwen2/model.gguf"))
    var metadata = file.metadata
    metadata["tokenizer.ggml.eot_token_id"] = .uint32(77)
    metadata["tokenizer.ggml.eom_token_id"] = .uint32(78)
    let tensors = file.tensorNames.compactMap { name in
      file.tensor(named: name).map { TensorSource(name: name, tensor: $0) }
    }
    let url = folder.appendingPathComponent("model.gguf")
    try GGUFWriter.write(metadata: metadata, tensors: tensors, to: url)
    #expect(try CausalLM(opening: url).stopTokens.isSuperset(of: [2, 77, 78]))
  }

  @Test func theNewTokenReachesEveryFile() throws {
    let folder = try Self.folder([("eos_token_id", 2)])
    defer { try? FileManager.default.removeItem(at: folder) }
    let model = try CausalLM(opening: folder)
    try model.setEndOfSequence("<|endoftext|>")
    try model.setPadding("<|im_start|>")
    let output = folder.appendingPathComponent("output")
    try model.write(to: output, type: .float32)
    try model.writeTokenizer(to: output)
    func json(_ name: String) throws -> JSONValue {
      try JSONValue(parsing: Data(contentsOf: output.appendingPathComponent(name)))
    }
    #expect(try json("config.json")["eos_token_id"] == 0)
    #expect(try json("generation_config.json")["eos_token_id"]?.array?.contains(0) == true)
    #expect(try json("tokenizer_config.json")["eos_token"] == "<|endoftext|>")
    #expect(try json("config.json")["pad_token_id"] == 1)
    #expect(try json("generation_config.json")["pad_token_id"] == 1)
    #expect(try json("tokenizer_config.json")["pad_token"] == "<|im_start|>")
    let again = try CausalLM(opening: output)
    #expect(again.endOfSequence?.id == 0)
    let gguf = folder.appendingPathComponent("model.gguf")
    try model.writeGGUF(to: gguf, type: .f32, name: "tiny")
    let metadata = try GGUFFile(contentsOf: gguf).metadata
    #expect(metadata["tokenizer.ggml.eos_token_id"] == .uint32(0))
    #expect(metadata["tokenizer.ggml.padding_token_id"] == .uint32(1))
    #expect(OllamaModelfile(model, file: "model.gguf").text.contains("PARAMETER stop \"<|endoftext|>\""))
    #expect(AdapterTests.message { try model.setEndOfSequence("nothing like it") }.contains("not in the tokenizer"))
  }

  /// The token that an adapter was trained to end with is in its own files.
  @Test func anAdapterBringsItsToken() throws {
    let folder = try Self.folder([("eos_token_id", 2)])
    defer { try? FileManager.default.removeItem(at: folder) }
    let adapter = folder.appendingPathComponent("adapter")
    try FileManager.default.createDirectory(at: adapter, withIntermediateDirectories: true)
    let model = try CausalLM(opening: folder)
    func take(_ config: String) throws -> Int32? {
      try Data(config.utf8).write(to: adapter.appendingPathComponent("tokenizer_config.json"))
      try model.takeSpecialTokens(ofAdapter: adapter)
      return model.endOfSequence?.id
    }
    try model.takeSpecialTokens(ofAdapter: adapter)
    #expect(try take("{}") == 2)
    #expect(try take(#"{"eos_token":"<nowhere>"}"#) == 2)
    #expect(try take(#"{"eos_token":{"content":"<|endoftext|>"}}"#) == 0)
    #expect(model.stopTokens.contains(0))
    let variables = model.templateVariables().members
    #expect(variables.contains { $0.key == "eos_token" && $0.value == "<|endoftext|>" })
    try Data(#"{"eos_token":"<|im_start|>"}"#.utf8).write(to: adapter.appendingPathComponent("special_tokens_map.json"))
    #expect(try take(#"{"eos_token":"<|endoftext|>"}"#) == 1)
    #expect(try take(#"{"eos_token":"<|endoftext|>","added_tokens_decoder":{}}"#) == 0)
    #expect(AdapterTests.message { _ = try take("{") }.contains("tokenizer_config.json"))
  }
}
