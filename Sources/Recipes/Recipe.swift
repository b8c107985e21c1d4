import Diagnostics
import Foundation
import OrderedJSON
import Reports
import Training

/// A run's whole configuration: TRL's keys from a YAML file and the command line, checked and typed.
public struct Recipe: Sendable {
  /// Which model is trained.
  public var model: ModelArguments
  /// Which rows it is trained on.
  public var data: DataArguments
  /// The adapters to train; `nil` to train every weight.
  public var lora: LoRAArguments?
  /// How training runs.
  public var training: TrainingArguments
  /// Which reports it writes.
  public var reports: ReportConfiguration
  /// The YAML file, where there is one.
  public let file: String?
  /// Where each key that was given comes from, by its name in `RecipeKey.all`.
  public let origins: [String: FileLocation]
  /// What the user should know before the run: keys without effect, earlier spellings.
  public let notes: [String]
  /// Every honoured key with its value, in the order of the documentation: `training_args.json`.
  public let arguments: JSONObject

  /// Reads a command line: `--config FILE` and `--key value ...` in any order; what stands there overrides the file.
  ///
  /// Keys may be written with dashes or underscores and as `--key=value`; a key without a value is true, and
  /// `--no-key` is false; several values make a list.
  /// - Throws: `SwiftletError` for an unreadable file, an unknown or refused key, a wrong type, or keys that contradict
  ///   one another.
  public init(commandLine words: [String]) throws(SwiftletError) {
    var (file, overrides) = try RecipeReader.split(words)
    var text = ""
    if let path = file {
      do {
        text = try String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
      } catch {
        throw SwiftletError.recipe(
          .commandLine, "the recipe \(path) cannot be read; check that the file exists and is UTF-8 text")
      }
      file = path
    }
    try self.init(yaml: text, file: file, overrides: overrides)
  }

  /// Reads YAML, and command-line words over it.
  /// - Parameters:
  ///   - yaml: `key: value` lines.
  ///   - file: what messages call the text; also where relative paths may start.
  ///   - words: keys and values as on a command line, which override the text's.
  /// - Throws: as `init(commandLine:)`.
  public init(yaml: String, file: String? = nil, commandLine words: [String] = []) throws(SwiftletError) {
    let (other, overrides) = try RecipeReader.split(words)
    if other != nil { throw SwiftletError.recipe(.commandLine, "--config stands beside another recipe") }
    try self.init(yaml: yaml, file: file, overrides: overrides)
  }

  private init(yaml: String, file: String?, overrides: RecipeValue.Entries) throws(SwiftletError) {
    var reader = RecipeReader()
    let name = file ?? "recipe"
    for entry in try RecipeValue.entries(ofYAML: yaml, file: name) {
      try reader.set(entry.key, entry.value, from: .file(name, line: entry.line))
    }
    reader.beginOverrides()
    for entry in overrides { try reader.set(entry.key, entry.value, from: .commandLine) }
    try reader.check()
    model = reader.draft.model
    data = reader.draft.data
    lora = reader.draft.usesPEFT ? reader.draft.lora : nil
    training = reader.draft.training
    reports = reader.draft.reports
    self.file = file
    origins = reader.origins
    notes = reader.notes
    arguments = reader.arguments
  }

  /// Refuses a recipe that names no model or no rows, which inspecting commands can do without.
  public func checkComplete() throws(SwiftletError) {
    let place = file.map { FileLocation.file($0, line: 0) } ?? .commandLine
    if model.modelNameOrPath.isEmpty {
      throw SwiftletError.recipe(
        place, "model_name_or_path is missing; name a folder, a GGUF file or org/name")
    }
    if data.trainSources.isEmpty {
      throw SwiftletError.recipe(place, "dataset_name is missing; name a file, a folder or org/name")
    }
  }

  /// The folder that the recipe lies in, where it is a file.
  var folder: String? { file.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path } }

  /// The file or folder that a path of the recipe means: as it stands if that exists, else beside the recipe if that
  /// does, else as it stands.
  public func locate(_ path: String) -> String {
    guard let file, !path.hasPrefix("/"), !FileManager.default.fileExists(atPath: path) else { return path }
    let beside = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent(path).path
    return FileManager.default.fileExists(atPath: beside) ? beside : path
  }
}
