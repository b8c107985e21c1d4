import Datasets
import OrderedJSON

/// Which rows are trained on, and what is done to them first.
public struct DataArguments: Sendable, Hashable {
  /// A file, a folder or `org/name`, where there is one source.
  public var datasetName: String?
  /// An SQL query whose answer is the only source.
  public var query: String?
  /// The configuration (subset) of that data set.
  public var datasetConfig: String?
  /// Its split that is trained on.
  public var trainSplit = "train"
  /// Its split that is evaluated on.
  public var testSplit = "test"
  /// Several sources, joined, or mixed by their shares.
  public var sources: [DatasetSource] = []
  /// What is done to the rows once the sources are put together.
  public var steps: [RowStep] = []
  /// The share of rows (below 1) or their number that is held out for evaluation.
  public var testSplitSize: Double?
  /// Rows to evaluate on, where they have a source of their own; steps that change or filter rows apply to them as well.
  public var evalDataset: DatasetSource?
  /// Only the first rows are trained on.
  public var maxTrainSamples: Int?
  /// Only the first rows are evaluated on.
  public var maxEvalSamples: Int?
  /// Questions answered before and after training.
  public var questions = Questions.inline([])
  /// The length of those answers.
  public var maxNewTokens = 128

  /// TRL's defaults.
  public init() {}

  /// All training sources; `dataset_name` or `query` counts as one, and gives way to `datasets` as in TRL.
  public var trainSources: [DatasetSource] {
    if !sources.isEmpty { return sources }
    if let query { return [DatasetSource(query: query)] }
    guard let datasetName else { return [] }
    return [DatasetSource(path: datasetName, name: datasetConfig, split: trainSplit)]
  }

  /// What answers are wanted to.
  public enum Questions: Sendable, Hashable {
    /// Asked in the recipe.
    case inline([Question])
    /// One a line (text), or JSON or JSON Lines of strings or messages.
    case file(String)
  }

  /// A question, with the system message it is asked under.
  public struct Question: Sendable, Hashable {
    /// What the user says.
    public var text: String
    /// The system message.
    public var system: String?

    /// A question.
    public init(_ text: String, system: String? = nil) {
      self.text = text
      self.system = system
    }
  }
}

extension DataArguments.Question: RecipeConvertible {
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
    guard let system else { return .string(text) }
    return ["text": .string(text), "system": .string(system)]
  }
}

extension DataArguments.Questions: RecipeConvertible {
  static var expectation: String { "a file, or a list of questions" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if case .scalar(let path, _) = value, !value.isNull {
      self = .file(path)
    } else {
      self = .inline(try [DataArguments.Question](value))
    }
  }

  var json: JSONValue {
    switch self {
    case .inline(let questions): questions.json
    case .file(let path): .string(path)
    }
  }
}
