import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors

/// A model as its makers publish it: a Hugging Face folder or a GGUF file, opened but not yet read.
public struct ModelFiles: Sendable {
  /// The folder or file.
  public let url: URL
  /// The shape of the model.
  public let configuration: TransformerConfiguration
  /// `config.json`, or the GGUF header in its words.
  public let configurationJSON: JSONValue
  /// How weights are quantized, if the configuration says that they are.
  public let quantization: QuantizationConfiguration?
  private var source: Source

  private enum Source: Sendable {
    case folder(SafetensorsCheckpoint?)
    case gguf(GGUFModel)
  }

  /// Opens a folder with `config.json` and safetensors, or a `.gguf` file. A folder without weights opens too, for
  /// looking at its shape; `tensor(named:)` then finds nothing.
  /// - Throws: `SwiftletError` or `SwiftletError`, one sentence each.
  public init(opening url: URL) throws {
    self.url = url
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
      throw SwiftletError.model(
        "\(url.path): there is no such file or folder; name a model folder, a .gguf file or org/name")
    }
    if isFolder.boolValue {
      let configURL = url.appendingPathComponent("config.json")
      configurationJSON = try Self.json(at: configURL)
      configuration = try TransformerConfiguration(json: configurationJSON, path: configURL.path)
      quantization = try Self.quantization(configurationJSON, configURL)
      source = .folder(try Self.checkpoint(in: url))
    } else if url.lastPathComponent == "config.json" {
      configurationJSON = try Self.json(at: url)
      configuration = try TransformerConfiguration(json: configurationJSON, path: url.path)
      quantization = try Self.quantization(configurationJSON, url)
      source = .folder(nil)
    } else {
      let model = try GGUFModel(GGUFFile(contentsOf: url), path: url.path)
      configurationJSON = model.configuration
      var configuration = try TransformerConfiguration(json: model.configuration, path: url.path)
      configuration.normOffset = 0  // llama.cpp's converter has already added Gemma's 1 to the weights.
      self.configuration = configuration
      quantization = nil
      source = .gguf(model)
    }
  }

  private static func quantization(
    _ json: JSONValue, _ url: URL
  ) throws(SwiftletError) -> QuantizationConfiguration? {
    try QuantizationConfiguration(ConfigurationReader(json: json, path: url.path))
  }

  /// The same model without its weights: its shape.
  public var shapeOnly: ModelFiles {
    var files = self
    files.source = .folder(nil)
    return files
  }

  private static func checkpoint(in folder: URL) throws -> SafetensorsCheckpoint? {
    let names = ["model.safetensors", "model.safetensors.index.json"]
    let hasWeights = names.contains {
      FileManager.default.fileExists(atPath: folder.appendingPathComponent($0).path)
    }
    return hasWeights ? try SafetensorsCheckpoint(contentsOf: folder) : nil
  }

  /// The JSON file at `url`.
  /// - Throws: `SwiftletError` if it cannot be read or is not JSON.
  static func json(at url: URL) throws(SwiftletError) -> JSONValue {
    guard let data = try? Data(contentsOf: url) else {
      throw SwiftletError.model("\(url.path): the file is missing or cannot be read; a model folder needs it")
    }
    do {
      return try JSONValue(parsing: data)
    } catch {
      throw SwiftletError.model("\(url.path), \(error)")
    }
  }

  /// The GGUF file, where this is one.
  public var gguf: GGUFFile? { if case .gguf(let model) = source { model.file } else { nil } }

  /// Whether there are weights to load.
  public var hasWeights: Bool { if case .folder(nil) = source { false } else { true } }

  /// The tensor that transformers calls `name`, or `nil`.
  /// - Throws: `SwiftletError` where it is quantized and its parts do not fit each other.
  public func tensor(named name: String) throws(SwiftletError) -> Tensor? {
    switch source {
    case .folder(let checkpoint): try checkpoint?.weight(named: name)
    case .gguf(let model): model.tensor(named: name, configuration: configuration)
    }
  }
}
