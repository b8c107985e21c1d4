import OrderedJSON

/// Which rows are trained on, and what is done to them first.
public struct DataArguments: Sendable, Hashable {
  /// A file, a folder or `org/name`, where there is one source.
  public var datasetName: String?
  /// The configuration (subset) of that data set.
  public var datasetConfig: String?
  /// Its split that is trained on.
  public var trainSplit = "train"
  /// Its split that is evaluated on.
  public var testSplit = "test"
  /// Several sources, joined, or mixed by their shares.
  public var sources: [DatasetSource] = []
  /// What is done to the rows once the sources are put together.
  public var steps: [DatasetStep] = []
  /// The share of rows (below 1) or their number that is held out for evaluation.
  public var testSplitSize: Double?
  /// Rows to evaluate on, where they have a source of their own; steps that change or filter rows apply to them as well.
  public var evalDataset: DatasetSource?
  /// Only the first rows are trained on.
  public var maxTrainSamples: Int?
  /// Only the first rows are evaluated on.
  public var maxEvalSamples: Int?
  /// The column that holds finished text.
  public var textField = "text"
  /// Whether the rows are shuffled before they are packed.
  public var shufflesDataset = false
  /// Questions answered before and after training.
  public var questions = Questions.inline([])
  /// The length of those answers.
  public var maxNewTokens = 128

  /// TRL's defaults.
  public init() {}

  /// All training sources; `dataset_name` counts as one, and gives way to `datasets` as in TRL.
  public var trainSources: [DatasetSource] {
    if !sources.isEmpty { return sources }
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

/// Where rows come from: the arguments of `datasets.load_dataset`, as TRL's `datasets` key has them, and steps.
public struct DatasetSource: Sendable, Hashable {
  /// A file, a folder or `org/name`.
  public var path: String
  /// The configuration (subset).
  public var name: String?
  /// A folder inside it.
  public var dataDir: String?
  /// The files of it that are read; empty for all of the split.
  public var dataFiles: [String]
  /// The split.
  public var split: String
  /// The columns kept; `nil` for all.
  public var columns: [String]?
  /// The share of this source in the mixture, relative to the others'.
  public var fraction: Double?
  /// What is done to these rows before the sources are put together.
  public var steps: [DatasetStep]

  /// A source.
  public init(
    path: String, name: String? = nil, dataDir: String? = nil, dataFiles: [String] = [], split: String = "train",
    columns: [String]? = nil, fraction: Double? = nil, steps: [DatasetStep] = []
  ) {
    self.path = path
    self.name = name
    self.dataDir = dataDir
    self.dataFiles = dataFiles
    self.split = split
    self.columns = columns
    self.fraction = fraction
    self.steps = steps
  }
}

extension DatasetSource: RecipeConvertible {
  static var expectation: String { "a path, or a mapping with path, name, split, columns, fraction and steps" }
  private static let keys = ["path", "name", "data_dir", "data_files", "split", "columns", "fraction", "steps"]

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if case .scalar = value {
      self.init(path: try String(value))
      return
    }
    let members = try RecipeMembers(value, allowed: Self.keys, expected: Self.expectation)
    self.init(
      path: try members.required("path"), name: try members.optional("name"),
      dataDir: try members.optional("data_dir"), dataFiles: try members.optional("data_files") ?? [],
      split: try members.optional("split") ?? "train", columns: try members.optional("columns"),
      fraction: try members.optional("fraction"), steps: try members.optional("steps") ?? [])
    if let fraction, !(fraction >= 0) { throw RecipeValueError(path: ".fraction", reason: "is below zero") }
  }

  var json: JSONValue {
    var object = JSONObject([("path", .string(path))])
    object["name"] = name.map { .string($0) }
    object["data_dir"] = dataDir.map { .string($0) }
    if !dataFiles.isEmpty { object["data_files"] = dataFiles.json }
    object["split"] = .string(split)
    object["columns"] = columns?.json
    object["fraction"] = fraction?.json
    if !steps.isEmpty { object["steps"] = steps.json }
    return .object(object)
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
