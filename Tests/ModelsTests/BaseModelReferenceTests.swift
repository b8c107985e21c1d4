import Checkpoints
import Foundation
import Models
import OrderedJSON
import Testing

/// How saved files name the base model.
@Suite struct BaseModelReferenceTests {
  private static let output = URL(fileURLWithPath: "/srv/project/outputs/mine")

  /// A GGUF file of the goldens with other keys in its header.
  private static func gguf(_ keys: [String: String], in folder: URL) throws -> ModelFiles {
    let original = try ModelFiles(opening: Goldens.folder.appendingPathComponent("models/llama_tied/model.gguf"))
    let file = try #require(original.gguf)
    let embedding = try #require(file.tensor(named: "token_embd.weight"))
    var metadata = file.metadata
    for (key, value) in keys { metadata[key] = .string(value) }
    let url = folder.appendingPathComponent("\(UUID()).gguf")
    try GGUFWriter.write(
      metadata: metadata, tensors: [TensorSource(name: "token_embd.weight", tensor: embedding)], to: url)
    return try ModelFiles(opening: url)
  }

  @Test func hubNamesAreKept() {
    #expect(BaseModelReference("Qwen/Qwen3-0.6B").name(in: Self.output) == "Qwen/Qwen3-0.6B")
    for path in ["a", "a/b/c", "./b", "~/b", "/a/b", "a/", "org/na me"] {
      #expect(!BaseModelReference.isHubName(path), "\(path)")
    }
  }

  @Test func pathsAreRelativeToTheFolder() {
    #expect(BaseModelReference("/srv/project/models/m").name(in: Self.output) == "../../models/m")
    #expect(BaseModelReference("/srv/project/outputs/mine/m").name(in: Self.output) == "m")
    let here = URL(fileURLWithPath: "outputs/mine")
    #expect(BaseModelReference("models/tiny/m").name(in: here) == "../../models/tiny/m")
    #expect(
      BaseModelReference("m", located: "/srv/project/m").name(in: Self.output.appendingPathComponent("checkpoint-5"))
        == "../../../m")
  }

  @Test func privatePathsAreNotNamed() {
    let home = ProcessInfo.processInfo.environment["HOME"] ?? "/root"
    let inHome = URL(fileURLWithPath: "\(home)/project/out")
    for (name, folder) in [
      ("~/models/m", Self.output), ("/data/m", Self.output), ("~/models/m", inHome), ("\(home)/m", inHome),
    ] {
      #expect(BaseModelReference(name).name(in: folder) == BaseModelReference.placeholder, "\(name)")
    }
    #expect(BaseModelReference("\(home)/project/m").name(in: inHome) == "../m")
    #expect(BaseModelReference("~/models/m.gguf").shortName == "m.gguf")
  }

  /// Older versions of transformers wrote where a model came from, even if that was a folder.
  @Test(arguments: [("/home/someone/base", nil), ("org/base", "org/base")] as [(String, String?)])
  func privateNamesAreNotPassedOn(_ name: String, _ kept: String?) throws {
    let folder = try AdapterTests.scratch()
    defer { try? FileManager.default.removeItem(at: folder) }
    let (source, output) = (folder.appendingPathComponent("m"), folder.appendingPathComponent("out"))
    try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
    for (place, file, key) in [
      ("llama", "config.json", "_name_or_path"), ("tokenizer", "tokenizer_config.json", "name_or_path"),
    ] {
      var json = try #require(try Goldens.json("models/\(place)/\(file)").object)
      json[key] = .string(name)
      try Data(JSONValue.object(json).text().utf8).write(to: source.appendingPathComponent(file))
    }
    for file in ["llama/model.safetensors", "tokenizer/tokenizer.json"] {
      let original = Goldens.folder.appendingPathComponent("models/\(file)")
      try FileManager.default.copyItem(at: original, to: source.appendingPathComponent(original.lastPathComponent))
    }
    let model = try CausalLM(opening: source)
    try model.write(to: output, type: .float32)
    try model.writeTokenizer(to: output)
    for (file, key) in [("config.json", "_name_or_path"), ("tokenizer_config.json", "name_or_path")] {
      let json = try JSONValue(parsing: Data(contentsOf: output.appendingPathComponent(file)))
      #expect(json[key]?.string == kept && json.object?.count ?? 0 > 3, "\(file)")
    }
  }

  @Test func headersTellTheOrigin() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("base-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let origins: [([String: String], String)] = [
      (["general.base_model.0.repo_url": "https://huggingface.co/org/base"], "org/base"),
      (["general.source.repo_url": "https://huggingface.co/org/source/tree/main"], "org/source"),
      (["general.source.huggingface.repository": "org/repository"], "org/repository"),
      (["general.base_model.0.organization": "Qwen", "general.base_model.0.name": "Qwen3 0.6B"], "Qwen/Qwen3-0.6B"),
      (["general.source.url": "https://example.com/org/name"], BaseModelReference.placeholder),
      ([:], BaseModelReference.placeholder),
    ]
    for (keys, expected) in origins {
      let files = try Self.gguf(keys, in: folder)
      #expect(BaseModelReference("~/x.gguf", files: files).name(in: Self.output) == expected, "\(keys)")
    }
  }
}
