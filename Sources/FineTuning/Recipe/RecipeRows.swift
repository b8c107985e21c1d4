import Datasets
import OrderedJSON

/// The rows that a recipe trains and evaluates on.
public struct RecipeRows: Sendable {
  /// The rows to train on.
  public var train: any RowSource
  /// The rows held out, if the recipe holds any out.
  public var evaluation: (any RowSource)?

  /// Opens the sources of a recipe, puts them together, and takes its steps.
  ///
  /// Held-out rows come from `eval_dataset`; else from a `split` step or `test_split_size`; else, where
  /// `eval_strategy` asks for them, from `dataset_test_split` of `dataset_name`. Rows from a source of their own take
  /// the steps that change or filter rows, not those that select, shuffle or split the training rows.
  /// - Parameter tokenizer: renders messages for the step `apply_chat_template`; a recipe without it needs none.
  /// - Throws: `DataError` where a source cannot be opened or a step does not fit.
  public init(_ recipe: Recipe, tokenizer: RowTokenizer? = nil) throws(DataError) {
    let data = recipe.data
    let seed = UInt64(max(0, recipe.training.dataSeed ?? recipe.training.seed))
    var opened: [any RowSource] = []
    for source in data.trainSources { opened.append(try Self.open(source, recipe, tokenizer)) }
    guard let first = opened.first else { throw DataError("dataset_name is missing; name a file or a folder") }
    let fractions = data.trainSources.compactMap(\.fraction)
    train =
      fractions.isEmpty
      ? (opened.count == 1 ? first : JoinedRows(opened)) : try JoinedRows(opened, fractions: fractions)

    if let source = data.evalDataset {
      evaluation = try Self.open(source, recipe, tokenizer)
    } else if data.sources.isEmpty, data.testSplitSize == nil, recipe.training.evalStrategy != .no,
      !data.steps.contains(where: \.isSplit), let name = data.datasetName
    {
      let source = DatasetSource(path: name, name: data.datasetConfig, split: data.testSplit)
      evaluation = try Self.open(source, recipe, tokenizer)
    }
    for step in data.steps {
      if let held = evaluation, step.changesRows { evaluation = try Self.apply(step, to: held, tokenizer) }
      if case .split(let size, let seed) = step {
        try holdOut(size, seed: UInt64(max(0, seed)))
      } else {
        train = try Self.apply(step, to: train, tokenizer)
      }
    }
    if evaluation == nil, let size = data.testSplitSize { try holdOut(size, seed: seed) }
    if let most = data.maxTrainSamples { train = try train.applying(.select(0..<most)) }
    if let most = data.maxEvalSamples { evaluation = try evaluation?.applying(.select(0..<most)) }
  }

  private mutating func holdOut(_ size: Double, seed: UInt64) throws(DataError) {
    let testSize = size < 1 ? Split.Size.share(size) : .rows(Int(clamping: size))
    let rows = train
    train = try rows.applying(.split(Split(testSize: testSize, seed: seed, part: .train)))
    if evaluation == nil { evaluation = try rows.applying(.split(Split(testSize: testSize, seed: seed, part: .test))) }
  }

  private static func open(
    _ source: DatasetSource, _ recipe: Recipe, _ tokenizer: RowTokenizer?
  ) throws(DataError) -> any RowSource {
    var path = recipe.locate(source.path)
    if let folder = source.dataDir { path += "/" + folder }
    var rows = try DataFile.open(path, split: source.split, files: source.dataFiles)
    if let columns = source.columns { rows = try rows.applying(.selectColumns(columns)) }
    for step in source.steps {
      if step.isSplit { throw DataError("split belongs to the recipe's own steps, not to those of one source") }
      rows = try apply(step, to: rows, tokenizer)
    }
    return rows
  }

  private static func apply(
    _ step: DatasetStep, to rows: any RowSource, _ tokenizer: RowTokenizer?
  ) throws(DataError) -> any RowSource {
    switch step {
    case .select(let start, let count):
      let end = start.addingReportingOverflow(count)
      return try rows.applying(.select(start..<(end.overflow ? .max : end.partialValue)))
    case .filter(let condition): return try rows.applying(.filter(column: condition.column, equals: condition.equals))
    case .renameColumns(let renames):
      return try rows.applying(.renameColumns(renames.map { RowStep.Renaming($0.from, $0.to) }))
    case .removeColumns(let columns): return try rows.applying(.removeColumns(columns))
    case .selectColumns(let columns): return try rows.applying(.selectColumns(columns))
    case .template(let column, let text): return try rows.applying(.template(column: column, TextPattern(text)))
    case .messages(let column, let patterns):
      var messages: [RowStep.Message] = []
      for pattern in patterns { messages.append(.init(role: pattern.role, content: try TextPattern(pattern.content))) }
      return try rows.applying(.messages(column: column, messages))
    case .applyChatTemplate(let column): return try rendered(rows, into: column, tokenizer)
    case .shuffle(let seed): return try rows.applying(.shuffle(seed: UInt64(max(0, seed))))
    case .split: return rows
    }
  }

  private static func rendered(
    _ rows: any RowSource, into column: String, _ tokenizer: RowTokenizer?
  ) throws(DataError) -> any RowSource {
    guard let render = tokenizer?.render else {
      throw DataError("apply_chat_template needs a chat template, but the model has none; set chat_template_path")
    }
    return MappedRows(rows) { row throws(DataError) in
      guard let messages = row["messages"]?.array else {
        throw DataError(
          "apply_chat_template needs a list of messages; make one with the step messages", column: "messages")
      }
      var result = row
      result[column] = .string(try render(.init(messages: messages, tools: row["tools"])).text)
      // With messages still there the row would be taken for a conversation and rendered again.
      result["messages"] = nil
      return result
    }
  }
}

extension DatasetStep {
  fileprivate var isSplit: Bool { if case .split = self { true } else { false } }

  /// Whether rows that were never meant for training take the step as well.
  fileprivate var changesRows: Bool {
    switch self {
    case .select, .shuffle, .split: false
    default: true
    }
  }
}

extension PreparationOptions {
  /// How the rows of a recipe become examples, for training or for evaluation.
  public init(_ recipe: Recipe, forEvaluation: Bool = false) {
    self.init(recipe.training, forEvaluation: forEvaluation)
    textField = recipe.data.textField
    // TRL shuffles with the run's seed, and shuffles held-out rows as well.
    shuffleSeed = recipe.data.shufflesDataset ? UInt64(max(0, recipe.training.seed)) : nil
  }

  /// How rows become examples, for training or for evaluation.
  init(_ training: TrainingArguments, forEvaluation: Bool) {
    self.init()
    maxLength = training.maxLength
    truncation = training.truncationMode
    completionOnlyLoss = training.completionOnlyLoss
    assistantOnlyLoss = training.assistantOnlyLoss
    packing =
      (forEvaluation ? training.evalPacking ?? training.packing : training.packing) ? training.packingStrategy : nil
  }
}
