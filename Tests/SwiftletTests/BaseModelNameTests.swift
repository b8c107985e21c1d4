import Checkpoints
import Foundation
import Models
import Recipes
import Swiftlet
import TestSupport
import Testing

/// How saved files name the base model.
@Suite struct BaseModelNameTests {
  private static func name(_ model: String) throws -> String {
    let recipe = try Recipe(yaml: "model_name_or_path: \(model)\ndataset_name: rows.jsonl")
    return BaseModelName.name(recipe, try ModelFiles(opening: URL(fileURLWithPath: model)))
  }

  @Test func aGGUFFileNamesTheRepositoryItWasConvertedFrom() throws {
    let folder = try scratchFolder("base-name")
    defer { try? FileManager.default.removeItem(at: folder) }
    let source = try GGUFFile(contentsOf: TinyModel.folder.appendingPathComponent("models/llama/model.gguf"))
    let file = folder.appendingPathComponent("model.gguf")
    func name(_ entries: [(String, String)]) throws -> String {
      var metadata = source.metadata
      for (key, value) in entries { metadata[key] = .string(value) }
      try GGUFWriter.write(metadata: metadata, tensors: [], to: file)
      return try Self.name(file.path)
    }
    #expect(try name([]) == file.path)
    let base = ("general.base_model.0.repo_url", "https://huggingface.co/org/base")
    #expect(try name([base]) == "org/base")
    #expect(try name([base, ("general.source.repo_url", "https://huggingface.co/org/tuned/")]) == "org/tuned")
    #expect(try name([("general.source.huggingface.repository", "org/tuned")]) == "org/tuned")
    #expect(try name([("general.base_model.0.repo_url", "../../etc")]) == file.path)
  }

  @Test func aFolderInTheHubsCacheIsNamedByItsRepository() throws {
    let cache = try scratchFolder("base-name-cache")
    defer { try? FileManager.default.removeItem(at: cache) }
    let folder = cache.appendingPathComponent("models--org--name/snapshots/abc")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      at: TinyModel.folder.appendingPathComponent("models/llama/config.json"),
      to: folder.appendingPathComponent("config.json"))
    #expect(try Self.name(folder.path) == "org/name")
    let plain = TinyModel.folder.appendingPathComponent("models/llama").path
    #expect(try Self.name(plain).hasSuffix("Tests/Goldens/models/llama"))
  }
}
