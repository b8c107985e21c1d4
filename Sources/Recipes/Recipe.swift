import Checkpoints
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Reports
import Training

/// The settings of a run, read from a YAML file and a command line with TRL's keys, and checked.
public struct Recipe: Sendable {
  /// The base model and its quantization.
  public var model: BaseModel
  /// The rows to train on, and the questions to ask.
  public var data: DataArguments
  /// The adapter to train; `nil` to train every weight.
  public var lora: LoRAConfiguration?
  /// How training runs: batches, optimization, logging and checkpoints.
  public var training: TrainingConfiguration
  /// Which reports the run writes.
  public var reports: ReportConfiguration
  /// Whether to upload the result, and where.
  public var publication: Publication
  /// Whether to show no progress bar.
  public var hidesProgress: Bool
  /// The YAML file, if there is one.
  public let file: String?
  /// Where each key comes from, by its name; keys that were not given are missing.
  public let origins: [String: FileLocation]
  /// What to tell the user before the run: keys that have no effect or have been renamed.
  public let notes: [String]
  /// Every honored key with its value, in the order of the documentation. `training_args.json` contains these.
  public let arguments: JSONObject

  /// Reads a command line: `--config FILE` and `--key value ...` in any order; the command line overrides the file.
  /// `--config` may be left out if the file comes first.
  ///
  /// Keys may be written with dashes or underscores, and as `--key=value`. A key without a value is true, `--no-key` is
  /// false, and several values make a list.
  /// - Parameters:
  ///   - words: the command line.
  ///   - method: the method of training that the command stands for; `nil` to take it from the key `method`.
  /// - Throws: `SwiftletError` for an unreadable file, an unknown or refused key, a wrong type, or keys that contradict
  ///   one another.
  public init(
    commandLine words: [String], method: TrainingMethod.Name? = nil
  ) throws(SwiftletError) {
    var (file, overrides) = try RecipeReader.split(words)
    var text = ""
    if let path = file?.expandingTilde {
      guard FileManager.default.fileExists(atPath: path) else {
        throw SwiftletError.recipe(FileLocation(file: path), "no such file; name the YAML file of a recipe")
      }
      do throws(SwiftletError) {
        text = try RegularFile.text(of: URL(fileURLWithPath: path), domain: .recipe)
      } catch {
        throw error.relocated(to: FileLocation(file: path))
      }
      file = path
    }
    try self.init(yaml: text, file: file, overrides: overrides, method: method)
  }

  /// Reads YAML, and command-line words over it.
  /// - Parameters:
  ///   - yaml: `key: value` lines.
  ///   - file: the name of the text in messages. Relative paths are also looked up in its folder.
  ///   - words: keys and values as on a command line, which override the text's.
  ///   - method: as in `init(commandLine:method:)`.
  /// - Throws: as `init(commandLine:)`.
  public init(
    yaml: String, file: String? = nil, commandLine words: [String] = [], method: TrainingMethod.Name? = nil
  ) throws(SwiftletError) {
    let (other, overrides) = try RecipeReader.split(words)
    if other != nil { throw SwiftletError.recipe(.commandLine, "--config cannot be combined with another recipe") }
    try self.init(yaml: yaml, file: file, overrides: overrides, method: method)
  }

  private init(
    yaml: String, file: String?, overrides: RecipeValue.Entries, method: TrainingMethod.Name?
  ) throws(SwiftletError) {
    let name = file ?? "recipe"
    let entries = try RecipeValue.entries(ofYAML: yaml, file: name)
    var reader = RecipeReader(try RecipeReader.method(method, entries, overrides, file: name))
    // Every key at fault is reported, not just the first.
    var errors: [SwiftletError] = []
    for entry in entries {
      do throws(SwiftletError) {
        try reader.set(entry.key, entry.value, from: .file(name, line: entry.line))
      } catch {
        errors.append(error)
      }
    }
    reader.beginOverrides()
    for entry in overrides {
      do throws(SwiftletError) {
        try reader.set(entry.key, entry.value, from: .commandLine)
      } catch {
        errors.append(error)
      }
    }
    if let first = errors.first {
      func sentence(_ text: String) -> String { text.hasSuffix(".") || text.hasSuffix("?") ? text : text + "." }
      let others = errors.dropFirst().prefix(9).map { " Also: \(sentence("\($0)"))" }.joined()
      throw SwiftletError.recipe(first.location, others.isEmpty ? first.reason : sentence(first.reason) + others)
    }
    try reader.check()
    self.init(reader.draft, file: file, origins: reader.origins, notes: reader.notes)
  }

  private init(_ draft: RecipeDraft, file: String?, origins: [String: FileLocation], notes: [String]) {
    var draft = draft
    draft.resolve()
    model = draft.model
    data = draft.data
    lora = draft.usesPEFT ? draft.lora : nil
    training = draft.training
    reports = draft.reports
    publication = draft.publication
    hidesProgress = draft.hidesProgress
    self.file = file
    self.origins = origins
    self.notes = notes
    arguments = draft.arguments
  }

  /// The recipe of a run that was configured in Swift. It sets the keys that differ from their defaults.
  package init(
    model: BaseModel, adapter: LoRAConfiguration?, training: TrainingConfiguration, reports: ReportConfiguration,
    datasetName: String?
  ) {
    var draft = RecipeDraft(model: model, adapter: adapter, training: training, reports: reports)
    draft.data.datasetName = datasetName
    let (values, defaults) = (draft.arguments, RecipeDraft(training.method.name).arguments)
    let given = values.keys.filter { values[$0] != defaults[$0] }
    self.init(
      draft, file: nil, origins: Dictionary(uniqueKeysWithValues: given.map { ($0, .defaultValue) }), notes: [])
  }

  /// Checks that the recipe names a model and a dataset.
  /// - Throws: `SwiftletError` if one is missing.
  public func checkComplete() throws(SwiftletError) {
    let place = file.map { FileLocation.file($0, line: 0) } ?? .commandLine
    if model.name.isEmpty {
      throw SwiftletError.recipe(
        place, "model_name_or_path is missing; name a folder, a GGUF file or org/name")
    }
    if data.trainSources.isEmpty {
      throw SwiftletError.recipe(place, "dataset_name is missing; name a file, a folder or org/name")
    }
  }

  /// The folder of the recipe's file.
  var folder: String? { file.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path } }

  /// Resolves a path in the recipe: `~` is `$HOME`, and a relative path is relative to the working directory, or
  /// else to the recipe's folder.
  public func locate(_ path: String) -> String {
    let path = path.expandingTilde
    guard let file, !path.hasPrefix("/"), !FileManager.default.fileExists(atPath: path) else { return path }
    let beside = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent(path).path
    return FileManager.default.fileExists(atPath: beside) ? beside : path
  }
}
