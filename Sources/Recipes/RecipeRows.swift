import Diagnostics
import Datasets
import Essentials
import Training

/// The training and validation rows of a recipe.
public struct RecipeRows: Sendable {
  /// The training rows, after all steps.
  public var train: any RowSource
  /// The validation rows, if there are any.
  public var evaluation: (any RowSource)?

  /// Opens the sources of a recipe, combines them, and applies its steps.
  ///
  /// Validation rows come from `eval_dataset`; else from a `split` step or `test_split_size`; else, where
  /// `eval_strategy` needs them, from `dataset_test_split` of `dataset_name`. Validation rows from their own source go
  /// through the steps that change or filter rows, but not through those that select, shuffle or split.
  /// - Parameters:
  ///   - recipe: the recipe.
  ///   - tokenizer: renders messages for the step `apply_chat_template`; not needed without it.
  /// - Throws: `SwiftletError` if a source cannot be opened or a step does not apply.
  public init(_ recipe: Recipe, tokenizer: RowTokenizer? = nil) throws(SwiftletError) {
    let data = recipe.data
    let seed = UInt64(max(0, recipe.training.dataSeed ?? recipe.training.seed))
    var opened: [any RowSource] = []
    for source in data.trainSources { opened.append(try Self.open(source, recipe, tokenizer)) }
    guard let first = opened.first else {
      throw SwiftletError.data("dataset_name is missing; name a file or a folder")
    }
    let fractions = data.trainSources.compactMap(\.fraction)
    train =
      fractions.isEmpty
      ? (opened.count == 1 ? first : ConcatenatedRows(opened)) : try ConcatenatedRows(opened, fractions: fractions)

    if let source = data.evalDataset {
      evaluation = try Self.open(source, recipe, tokenizer)
    } else if data.sources.isEmpty, data.testSplitSize == nil, recipe.training.evalStrategy != .no,
      !data.steps.contains(where: \.isSplit), let name = data.datasetName
    {
      let source = DatasetSource(path: name, name: data.datasetConfig, split: data.testSplit)
      evaluation = try Self.open(source, recipe, tokenizer)
    }
    for step in data.steps {
      if let held = evaluation, step.changesRows { evaluation = try held.applying(step, tokenizer: tokenizer) }
      if case .split(let split) = step {
        try splitOff(split)
      } else {
        train = try train.applying(step, tokenizer: tokenizer)
      }
    }
    if evaluation == nil, let size = data.testSplitSize {
      try splitOff(Split(testSize: Split.Size(size), seed: seed, part: .train))
    }
    if let most = data.maxTrainSamples { train = try train.applying(.select(0..<most)) }
    if let most = data.maxEvalSamples { evaluation = try evaluation?.applying(.select(0..<most)) }
  }

  /// Opens rows from a source of their own, and applies the recipe's steps that change or filter rows.
  package static func validationRows(
    _ source: DatasetSource, for recipe: Recipe, tokenizer: RowTokenizer?
  ) throws(SwiftletError) -> any RowSource {
    try open(source, recipe, tokenizer).applying(recipe.data.steps.filter(\.changesRows), tokenizer: tokenizer)
  }

  private mutating func splitOff(_ split: Split) throws(SwiftletError) {
    var other = split
    other.part = .test
    if evaluation == nil { evaluation = try train.applying(.split(other)) }
    train = try train.applying(.split(split))
  }

  private static func open(
    _ source: DatasetSource, _ recipe: Recipe, _ tokenizer: RowTokenizer?
  ) throws(SwiftletError) -> any RowSource {
    if source.steps.contains(where: \.isSplit) {
      throw SwiftletError.data("split must be one of the recipe's own steps, not of a source's")
    }
    var rows = try openFiles(source, folder: recipe.folder, locate: recipe.locate)
    if let columns = source.columns { rows = try rows.applying(.selectColumns(columns)) }
    return try rows.applying(source.steps, tokenizer: tokenizer)
  }

  /// Opens a source whose paths need no recipe to be resolved.
  package static func open(_ source: DatasetSource) throws(SwiftletError) -> any RowSource {
    try openFiles(source, folder: nil) { $0 }
  }

  private static func openFiles(
    _ source: DatasetSource, folder: String?, locate: (String) -> String
  ) throws(SwiftletError) -> any RowSource {
    if let query = source.query { return try DataFile.query(query, folder: folder) }
    var path = locate(source.path)
    let exists = FileManager.default.fileExists(atPath: path)
    if !exists, source.namesFormat {
      let files = source.dataFiles.mapValues { $0.map(locate) }
      return try DataFile.open(FileManager.default.currentDirectoryPath, split: source.split, files: files)
    }
    var files = source.dataFiles
    if exists, files.isEmpty, source.dataDir == nil {
      let card = try DatasetCard(folder: path)
      if let configured = try card.files(of: source.name) {
        files = configured
      } else if let name = source.name {
        path = try card.folder(of: name)
      }
    }
    if let folder = source.dataDir { path += "/" + folder }
    return try DataFile.open(path, split: source.split, files: files)
  }
}

extension RowStep {
  fileprivate var isSplit: Bool { if case .split = self { true } else { false } }

  /// Whether the step also applies to validation rows from their own source.
  fileprivate var changesRows: Bool {
    switch self {
    case .select, .shuffle, .split: false
    default: true
    }
  }
}
