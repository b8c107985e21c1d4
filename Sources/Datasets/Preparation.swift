import Checkpoints
import Diagnostics

/// Prepares a training set from rows: tokenizes, masks, truncates and packs them.
public struct Preparation: Sendable {
  private let encoder: RowEncoder
  private let cache: PreparationCache?
  private var options: PreparationOptions { encoder.options }

  /// The number of rows that are encoded in parallel before they are added in order. It bounds memory.
  private static let rowsInFlight = 2048
  /// The number of rows that a thread takes at a time.
  private static let chunkSize = 16

  /// The prepared training set and what was done to make it.
  public typealias Outcome = (set: TrainingSet, report: PreparationReport)

  /// Creates a preparation. With a cache, a set that has been prepared before is read instead.
  public init(
    _ tokenizer: RowTokenizer, options: PreparationOptions = PreparationOptions(), cache: PreparationCache? = nil
  ) {
    encoder = RowEncoder(tokenizer: tokenizer, options: options)
    self.cache = cache
  }

  /// Prepares rows.
  ///
  /// The result does not depend on the number of threads. With a cache, the tokens of a large set stay in a file.
  /// - Parameter progress: called from time to time with the number of rows done.
  /// - Throws: `SwiftletError` for the first row that cannot be used, if there are no rows, and if no token is trained.
  public func prepare(
    _ rows: any RowSource, progress: (_ rowsDone: Int) -> Void = { _ in }
  ) throws(SwiftletError) -> Outcome {
    if let limit = options.maxLength, limit < 1 {
      throw SwiftletError.data("max_length must be at least 1 (got \(limit))")
    }
    if options.packing != nil, options.maxLength == nil { throw SwiftletError.data("packing needs max_length; set it") }
    if options.packing != nil, options.rowKind != .sequence {
      throw SwiftletError.data("only rows of sft can be packed; leave out packing")
    }
    if rows.count == 0 {
      throw SwiftletError.data(
        "there are no rows; check the file and the steps that filter it", at: rows.location(of: 0))
    }
    guard let cache, let key = try cache.key(rows, options, encoder.tokenizer) else {
      return try build(rows, in: TrainingSetBuilder(), progress).outcome
    }
    if var found = cache.load(key) {
      found.report.isFromCache = true
      progress(rows.count)
      return found
    }
    var builder = TrainingSetBuilder(writer: cache.writer(key))
    if builder.failure == nil { builder = try build(rows, in: builder, progress) }
    builder.store(under: key)
    if builder.failure == nil, let stored = cache.load(key, isNew: true) { return stored }
    // If the disk is full, prepare again in memory instead of failing.
    var outcome = try build(rows, in: TrainingSetBuilder(), progress).outcome
    let reason = builder.failure.map { "\($0)" } ?? "they cannot be read back"
    outcome.report.add(note: "the prepared rows could not be cached for the next run: \(reason)")
    return outcome
  }

  /// The number of tokens of a row before it is truncated.
  /// - Throws: `SwiftletError` if the row cannot be used.
  package func tokenCount(of row: Row) throws(SwiftletError) -> Int {
    try encoder.encode(row, number: 0).example.ids.count
  }

  private func build(
    _ rows: any RowSource, in empty: TrainingSetBuilder, _ progress: (Int) -> Void
  ) throws(SwiftletError) -> TrainingSetBuilder {
    var builder = empty
    builder.report.rows = rows.count
    builder.report.predictsTokens = options.rowKind.predictsTokens
    for note in rows.notes { builder.report.add(note: note) }
    if options.assistantOnlyLoss, let note = encoder.tokenizer.templateNote { builder.report.add(note: note) }
    for start in stride(from: 0, to: rows.count, by: Self.rowsInFlight) {
      let range = start..<min(start + Self.rowsInFlight, rows.count)
      for (examples, report) in try encode(range, of: rows) { builder.add(examples, report, options) }
      if builder.failure != nil { return builder }
      progress(range.upperBound)
    }
    builder.arrange(options)
    if options.rowKind == .prompt {
      builder.report.holdsPrompts = true
      guard builder.report.keptRows == 0 else { return builder }
      throw SwiftletError.data(
        "none of the \(rows.count) rows is left; \(builder.report.warnings.first ?? "check the steps that filter them")"
      )
    }
    let isUsable = builder.report.predictsTokens ? builder.report.trainedTokens > 0 : builder.report.keptRows > 0
    if !isUsable, builder.report.predictsTokens {
      let cause = builder.report.warnings.first ?? "check the masks and max_length"
      throw SwiftletError.data("none of the \(rows.count) rows has a token to train on; \(cause)")
    }
    if !isUsable {
      throw SwiftletError.data(
        "none of the \(rows.count) rows can be scored; \(builder.report.warnings.first ?? "check their texts")")
    }
    return builder
  }

  private func encode(
    _ range: Range<Int>, of rows: any RowSource
  ) throws(SwiftletError) -> [(examples: [Example], report: RowReport)] {
    try Parallel.map(rows: range, chunkSize: Self.chunkSize, threads: options.threads) {
      chunk throws(SwiftletError) in
      var prepared: [(examples: [Example], report: RowReport)] = []
      prepared.reserveCapacity(chunk.count)
      for index in chunk {
        let row = try rows.row(at: index)
        do throws(SwiftletError) {
          prepared.append(try encoder.prepare(row, number: index))
        } catch {
          throw error.located(at: rows.location(of: index))
        }
      }
      return prepared
    }.flatMap(\.self)
  }
}
