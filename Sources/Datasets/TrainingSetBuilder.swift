import Checkpoints
import Diagnostics

/// Builds a training set row by row, with its tokens in memory or written to a file as they come.
struct TrainingSetBuilder {
  private var set = TrainingSet()
  var report = PreparationReport()
  /// Why the file could not be written. Nothing is added after a failure.
  private(set) var failure: SwiftletError?
  /// Completions with labels whose batch is not complete.
  private var waiting: [Example] = []
  private var writer: TrainingSetFile.Writer?

  /// The training set with its tokens in memory, and the report.
  var outcome: Preparation.Outcome { (set, report) }

  /// Creates a builder that keeps the tokens in memory.
  init() {}

  /// Creates a builder that writes the tokens to a file.
  init(writer: Result<TrainingSetFile.Writer, SwiftletError>) {
    switch writer {
    case .success(let writer): self.writer = writer
    case .failure(let error): failure = error
    }
  }

  /// Adds the examples of a row: one item, or for completions with labels one item each.
  mutating func add(_ examples: [Example], _ row: RowReport, _ options: PreparationOptions) {
    report.add(row)
    guard !examples.isEmpty else { return }
    guard case .labeledCompletion(let estimatesDivergence) = options.rowKind else { return append(examples) }
    for example in examples {
      waiting.append(example)
      if !estimatesDivergence || waiting.count == options.itemsPerBatch { appendWaiting(options) }
    }
  }

  /// Adds completions with labels that wait for the rest of their batch. With two sequences per item, the second has the
  /// completion of the row before, and the first row that of the last.
  mutating func appendWaiting(_ options: PreparationOptions) {
    defer { waiting = [] }
    for (index, example) in waiting.enumerated() {
      var item = [example]
      if options.rowKind.sequences == 2 {
        item.append(example.with(completionOf: waiting[(index + waiting.count - 1) % waiting.count]))
      }
      if let limit = options.maxLength {
        for index in item.indices { item[index].truncate(to: limit, keeping: .keepStart) }
      }
      append(item)
    }
  }

  private mutating func append(_ item: [Example]) {
    guard failure == nil else { return }
    guard writer != nil else { return set.append(item) }
    set.appendDocuments(item)
    for example in item {
      do { try writer?.append(example) } catch { return failure = error }
    }
  }

  /// Applies TRL's `packing` and `shuffle_dataset`, then counts the tokens of the items.
  mutating func arrange(_ options: PreparationOptions) {
    appendWaiting(options)
    if let packing = options.packing, let length = options.maxLength {
      let order = options.shuffleSeed.map { seed in
        var random = NumPyRandom(seed: seed)
        return random.permutation(set.documentCount)
      }
      set = set.packed(packing, length: length, order: order)
    }
    if let seed = options.shuffleSeed {
      var random = NumPyRandom(seed: seed)
      let items = set.items
      set.items = random.permutation(items.count).map { items[$0] }
    }
    report.items = set.items.count
    report.tokens = set.tokenCount
    if options.packing != nil { report.truncatedTokens = set.lossMask.count - report.tokens }
    report.trainedTokens = set.items.reduce(0) { sum, item in
      set.sequences(item).reduce(sum) { $0 + set.targetCount($1) }
    }
  }

  mutating func store(under key: String) {
    guard failure == nil else { return }
    do { try writer?.finish(set, report, key: key) } catch { failure = error }
    writer = nil
  }
}
