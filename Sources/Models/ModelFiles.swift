import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors
import Tokenizers

/// A published model, opened but not loaded: a Hugging Face folder or a GGUF file.
public struct ModelFiles: Sendable {
  /// The folder, config.json or GGUF file that was opened.
  public let url: URL
  /// The sizes and switches of the transformer.
  public internal(set) var configuration: TransformerConfiguration
  /// config.json, or the equivalent made from a GGUF header.
  public internal(set) var configurationJSON: JSONValue
  /// How the stored weights are quantized; `nil` if config.json doesn't say so.
  public let quantization: QuantizationConfiguration?
  /// What the stored weights of norms are larger by than those in transformers' files.
  let normShift: Float
  /// The tokenizer with the tokens that were added; `nil` if none were.
  var extendedTokenizer: Tokenizer?
  /// The tokens that were added, see `adding(_:)`.
  package internal(set) var addedTokens: [AddedToken] = []
  /// The ids of those that the tokenizer didn't have.
  package internal(set) var addedTokenIDs: [Int32] = []
  /// The number of rows that embedding and head have more than in the files; negative if they lose some.
  var addedRows = 0
  private var source: Source
  private let names: ModuleNames
  /// Whether the experts of a folder are in mlx-lm's layout. Found once: there are thousands of names.
  private var hasSwitchedExperts = false

  private enum Source: Sendable {
    case folder(SafetensorsCheckpoint?)
    case gguf(GGUFModel)
  }

  /// Opens a folder with config.json and safetensors, a config.json alone, or a `.gguf` file. Without weights only the
  /// model's shape is known, and `tensor(named:)` returns `nil`.
  /// - Throws: `SwiftletError` naming the file at fault.
  public init(opening url: URL) throws {
    self.url = url
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw SwiftletError.model(
        "no such file or folder; name a model folder, a .gguf file or org/name", in: url.path)
    }
    let isFolder = FileManager.default.isFolder(url.path)
    if isFolder || url.lastPathComponent == "config.json" {
      let config = isFolder ? url.appendingPathComponent("config.json") : url
      if isFolder, !FileManager.default.fileExists(atPath: config.path) {
        throw SwiftletError.model("there is no config.json, so this is not a model folder", in: url.path)
      }
      configurationJSON = try Self.json(at: config)
      var configuration = try TransformerConfiguration(json: configurationJSON, path: config.path)
      quantization = try QuantizationConfiguration(ConfigurationReader(json: configurationJSON, path: config.path))
      let checkpoint = isFolder ? try Self.checkpoint(in: url) : nil
      source = .folder(checkpoint)
      names = ModuleNames(tensorNames: checkpoint?.tensorNames ?? [])
      // Some models with a vision tower have a head that their configuration doesn't mention.
      if configurationJSON["text_config"] != nil, let checkpoint,
        checkpoint.tensorNames.contains(names.fileName(of: "lm_head.weight"))
      {
        configuration.tiesEmbeddings = false
      }
      if Self.isSequenceClassifier(configurationJSON) { configuration.tiesEmbeddings = true }
      hasSwitchedExperts = StackedExperts.areSwitched(checkpoint?.tensorNames ?? [])
      if hasSwitchedExperts { configuration.separateExpertInputs() }
      configuration.adoptMLXModules(of: checkpoint?.tensorNames ?? [])
      normShift = Self.hasShiftedNorms(checkpoint, configuration) ? configuration.normOffset : 0
      configuration.normOffset -= normShift
      self.configuration = configuration
    } else {
      let model = try GGUFModel(GGUFFile(contentsOf: url), path: url.path)
      configurationJSON = model.configuration
      var configuration = try TransformerConfiguration(json: model.configuration, path: url.path)
      // llama.cpp's converter has already added the offset to the weights.
      normShift = configuration.normOffset
      configuration.normOffset = 0
      configuration.separateExpertInputs()
      self.configuration = configuration
      quantization = nil
      source = .gguf(model)
      names = ModuleNames(tensorNames: [])
    }
  }

  /// The same model without its weights.
  public var shapeOnly: ModelFiles {
    var files = self
    files.source = .folder(nil)
    files.hasSwitchedExperts = false
    return files
  }

  /// Whether mlx-lm wrote the weights of a model with linear attention: it adds the offset to norms, and moves the channels of
  /// convolutions to the end.
  private static func hasShiftedNorms(
    _ checkpoint: SafetensorsCheckpoint?, _ configuration: TransformerConfiguration
  ) -> Bool {
    guard let checkpoint, configuration.isRecurrent,
      let name = checkpoint.tensorNames.first(where: { $0.hasSuffix(".linear_attn.conv1d.weight") })
    else { return false }
    return checkpoint.tensor(named: name).map { $0.shape.count == 3 && $0.shape[2] == 1 && $0.shape[1] > 1 } ?? false
  }

  private static func checkpoint(in folder: URL) throws -> SafetensorsCheckpoint? {
    let names = ["model.safetensors", "model.safetensors.index.json"]
    let hasWeights = names.contains {
      FileManager.default.fileExists(atPath: folder.appendingPathComponent($0).path)
    }
    return hasWeights ? try SafetensorsCheckpoint(contentsOf: folder) : nil
  }

  /// Reads a JSON file.
  /// - Throws: `SwiftletError` if it can't be read or isn't JSON.
  static func json(at url: URL) throws(SwiftletError) -> JSONValue {
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw SwiftletError.model("the file is missing or can't be read", in: url.path)
    }
    let bytes = try RegularFile.contents(of: url, sizeLimit: 100_000_000, domain: .model)
    do {
      return try JSONValue(parsing: bytes)
    } catch {
      throw SwiftletError.model("\(url.path), \(error)")
    }
  }

  /// The GGUF file; `nil` for a folder.
  public var gguf: GGUFFile? { if case .gguf(let model) = source { model.file } else { nil } }

  /// Whether there are weights to load.
  public var hasWeights: Bool { if case .folder(nil) = source { false } else { true } }

  /// The tensor that transformers calls `name`, or `nil`.
  /// - Parameter columns: the number of columns that it must have, without which codes of MLX stay words.
  /// - Throws: `SwiftletError` if it is quantized and its parts are inconsistent.
  public func tensor(named name: String, columns: Int? = nil) throws(SwiftletError) -> Tensor? {
    switch source {
    case .folder(let checkpoint):
      if let stacked = stackedExperts, StackedExperts.place(of: name) != nil {
        try stacked.tensor(named: names.fileName(of: name), columns: columns)
      } else {
        try checkpoint?.weight(named: fileName(of: name), columns: columns)
      }
    case .gguf(let model): try model.tensor(named: name, configuration: configuration)
    }
  }

  /// The order in which the tensor `name` has the columns that transformers has, if they couldn't be reordered without
  /// cutting blocks.
  func columnOrder(of name: String) -> ColumnOrder? {
    if case .gguf(let model) = source { model.columnOrder(of: name, configuration: configuration) } else { nil }
  }

  /// The experts of a model whose folders hold them in stacks; `nil` if they are apart, or there are none.
  var stackedExperts: StackedExperts? {
    guard let storage = configuration.expertStorage else { return nil }
    let checkpoint: SafetensorsCheckpoint? = if case .folder(let checkpoint) = source { checkpoint } else { nil }
    guard storage != .apart || hasSwitchedExperts else { return nil }
    return StackedExperts(checkpoint: checkpoint, storage: storage, isMLX: hasSwitchedExperts, fileName: fileName)
  }

  /// The name that the files have for the tensor `name` of a module.
  func fileName(of name: String) -> String {
    var path = ".\(names.fileName(of: name))."
    for (module, file) in configuration.fileNames { path = path.replacing(".\(module).", with: ".\(file).") }
    return String(path.dropFirst().dropLast())
  }

  /// The tensors of a folder that belong to none of `parameters`: those of a vision tower, for example.
  func otherTensors(than parameters: [Parameter]) -> [TensorSource] {
    guard case .folder(let checkpoint?) = source, configurationJSON["text_config"] != nil else { return [] }
    let known = parameters.map { fileName(of: $0.name) }
    // Parts of a quantized weight are named after it, or after its module.
    let modules = known.filter { $0.hasSuffix(".weight") }.map { String($0.dropLast("weight".count)) }
    let parts = Set(modules.flatMap { module in MLXQuantization.partNames.map { module + $0 } })
    return checkpoint.tensorNames.compactMap { name in
      let isKnown = parts.contains(name) || known.contains { name == $0 || name.hasPrefix($0 + ".") }
      return isKnown ? nil : checkpoint.tensor(named: name).map { TensorSource(name: name, tensor: $0) }
    }
  }

  /// Loads the tokenizer of the folder, or of the GGUF header.
  /// - Throws: `SwiftletError` if there is none or it can't be read.
  public func tokenizer() throws -> Tokenizer {
    if let extendedTokenizer { return extendedTokenizer }
    if let gguf { return try Tokenizer(gguf: GGUFVocabulary(gguf)) }
    return try Tokenizer(directory: url)
  }

  /// The stop tokens that the files name: in generation_config.json or, as in transformers without that file, in
  /// config.json; in a GGUF header, the end-of-turn and end-of-message tokens.
  var stopTokens: [Int32] {
    if case .gguf(let model) = source { return model.stopTokens }
    let generation = try? Self.json(at: url.appendingPathComponent("generation_config.json"))
    guard let value = generation?["eos_token_id"] ?? configurationJSON["eos_token_id"] else { return [] }
    return (value.array ?? [value]).compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
  }
}
