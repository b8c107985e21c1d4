import Datasets
import Models
import OrderedJSON

/// The rows to train on, the steps to apply to them, and the questions to ask.
public struct DataArguments: Sendable, Hashable {
  /// A file, a folder or `org/name`, if there is one source.
  public var datasetName: String?
  /// An SQL query, if its answer is the only source.
  public var query: String?
  /// The configuration (subset) of that dataset.
  public var datasetConfig: String?
  /// The split to train on.
  public var trainSplit = "train"
  /// The split for the validation loss.
  public var testSplit = "test"
  /// Several sources, to concatenate or to mix by their shares.
  public var sources: [DatasetSource] = []
  /// The steps to apply once the sources are combined.
  public var steps: [RowStep] = []
  /// The size of a validation set split off the training rows: a share below 1, or a number of rows.
  public var testSplitSize: Double?
  /// The source of the validation rows. Steps that change or filter rows apply to them too.
  public var evalDataset: DatasetSource?
  /// Train on only this many rows.
  public var maxTrainSamples: Int?
  /// Evaluate only this many rows.
  public var maxEvalSamples: Int?
  /// The questions to ask before and after training.
  public var questions = Questions.inline([])
  /// The maximum number of tokens in an answer.
  public var maxNewTokens = 128

  /// Creates TRL's defaults: no source, the splits `train` and `test`.
  public init() {}

  /// The training sources: `sources`, or else the one in `query` or `datasetName`.
  public var trainSources: [DatasetSource] {
    if !sources.isEmpty { return sources }
    if let query { return [DatasetSource(query: query)] }
    guard let datasetName else { return [] }
    return [DatasetSource(path: datasetName, name: datasetConfig, split: trainSplit)]
  }

  /// Questions to ask the model before, during and after training.
  public enum Questions: Sendable, Hashable {
    /// Questions in the recipe.
    case inline([Prompt])
    /// A file: text with one question per line, or JSON or JSON Lines of strings or messages.
    case file(String)
  }
}

extension Prompt: RecipeConvertible {
  static var expectation: String { "a question, or a mapping with text and system" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if case .scalar = value {
      self.init(try String(value))
      return
    }
    let members = try RecipeMembers(value, allowed: ["text", "system"], expected: Self.expectation)
    self.init(try members.required("text"), system: try members.optional("system"))
  }

  var json: JSONValue {
    guard let system = messages?.first, system.role == "system" else { return .string(text) }
    return ["text": .string(text), "system": .string(system.content)]
  }
}

extension DataArguments.Questions: RecipeConvertible {
  static var expectation: String { "a file, or a list of questions" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if case .scalar(let path, _) = value, !value.isNull {
      self = .file(path)
    } else {
      self = .inline(try [Prompt](value))
    }
  }

  var json: JSONValue {
    switch self {
    case .inline(let questions): questions.json
    case .file(let path): .string(path)
    }
  }
}
