import Diagnostics
import Checkpoints

/// A training set that grows row by row: its tokens in memory, or written to a file as they come.
struct Gathering {
  private var set = TrainingSet()
  var report = PreparationReport()
  /// Why the file could not be written; nothing is gathered after that.
  private(set) var failure: SwiftletError?
  private var writer: PreparedFile.Writer?

  /// What was gathered, its tokens in memory.
  var outcome: Preparation.Outcome { (set, report) }

  /// Nothing yet, to be held in memory.
  init() {}

  /// Nothing yet, to be written to a file.
  init(writer: Result<PreparedFile.Writer, SwiftletError>) {
    switch writer {
    case .success(let writer): self.writer = writer
    case .failure(let error): failure = error
    }
  }

  mutating func add(_ row: PreparedRow, number: Int) {
    report.add(row)
    guard row.fate == .kept, failure == nil else { return }
    let example = Example(ids: row.ids, labels: row.labels, row: number)
    guard writer != nil else { return set.append(example) }
    set.appendDocument(example)
    do { try writer?.append(example) } catch { failure = error }
  }

  /// What TRL calls `shuffle_dataset` and `packing`; then counts what the items hold.
  mutating func arrange(_ options: PreparationOptions) {
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
    if options.packing != nil { report.truncatedTokens = set.trained.count - report.tokens }
    report.trainedTokens = set.items.reduce(0) { sum, item in
      set.sequences(item).reduce(sum) { $0 + set.targetCount($1) }
    }
  }

  /// Completes the file.
  mutating func store(under key: String) {
    guard failure == nil else { return }
    do { try writer?.finish(set, report, key: key) } catch { failure = error }
    writer = nil
  }
}
