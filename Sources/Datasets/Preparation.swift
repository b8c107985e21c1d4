import Diagnostics
import Checkpoints

/// Makes a training set of rows: encodes, masks, cuts and packs them.
public struct Preparation: Sendable {
  private let encoder: RowEncoder
  private let cache: PreparationCache?
  private var options: PreparationOptions { encoder.options }

  /// Rows encoded together before they are added up in order; bounds what is in flight.
  private static let waveRows = 2048
  /// Rows that a thread takes at a time.
  private static let stretchRows = 16

  /// What preparing gives.
  public typealias Outcome = (set: TrainingSet, report: PreparationReport)

  /// A preparation with this tokenizer, which looks sets up in `cache` first where there is one.
  public init(
    _ tokenizer: RowTokenizer, options: PreparationOptions = PreparationOptions(), cache: PreparationCache? = nil
  ) {
    encoder = RowEncoder(tokenizer: tokenizer, options: options)
    self.cache = cache
  }

  /// The training set of `rows` and what was done to make it.
  ///
  /// The result does not depend on the number of threads. With a cache, the tokens of a large set lie in a file.
  /// - Parameter progress: told now and then how many rows are done.
  /// - Throws: `SwiftletError` for the first row that cannot be used; also when there are no rows, or nothing is trained on.
  public func prepare(
    _ rows: any RowSource, progress: (_ rowsDone: Int) -> Void = { _ in }
  ) throws(SwiftletError) -> Outcome {
    if let limit = options.maxLength, limit < 1 {
      throw SwiftletError.data("max_length is \(limit); it must be at least 1")
    }
    if options.packing != nil, options.maxLength == nil { throw SwiftletError.data("packing needs max_length; set it") }
    if rows.count == 0 {
      throw SwiftletError.data(
        "there are no rows; check the file and the steps that filter it", at: rows.location(of: 0))
    }
    guard let cache, let key = try cache.key(rows, options, encoder.tokenizer) else {
      return try make(rows, in: Gathering(), progress).outcome
    }
    if var found = cache.load(key) {
      found.report.isFromCache = true
      progress(rows.count)
      return found
    }
    var gathering = Gathering(writer: cache.writer(key))
    if gathering.failure == nil { gathering = try make(rows, in: gathering, progress) }
    gathering.store(under: key)
    if gathering.failure == nil, let stored = cache.load(key, isNew: true) { return stored }
    // A disk that is full costs memory and time, not the run.
    var outcome = try make(rows, in: Gathering(), progress).outcome
    let reason = gathering.failure.map { "\($0)" } ?? "they cannot be read back"
    outcome.report.add(note: "the prepared rows are not kept for the next run: \(reason)")
    return outcome
  }

  private func make(
    _ rows: any RowSource, in empty: Gathering, _ progress: (Int) -> Void
  ) throws(SwiftletError) -> Gathering {
    var gathering = empty
    gathering.report.rows = rows.count
    for start in stride(from: 0, to: rows.count, by: Self.waveRows) {
      let wave = start..<min(start + Self.waveRows, rows.count)
      for (offset, row) in try prepared(wave, of: rows).enumerated() { gathering.add(row, number: start + offset) }
      if gathering.failure != nil { return gathering }
      progress(wave.upperBound)
    }
    gathering.arrange(options)
    if gathering.report.trainedTokens == 0 {
      let cause = gathering.report.warnings.first ?? "check the masks and max_length"
      throw SwiftletError.data("none of the \(rows.count) rows has a token to train on; \(cause)")
    }
    return gathering
  }

  private func prepared(_ wave: Range<Int>, of rows: any RowSource) throws(SwiftletError) -> [PreparedRow] {
    try OrderedWork.map(rows: wave, stretch: Self.stretchRows, threads: options.threads) {
      stretch throws(SwiftletError) in
      var prepared: [PreparedRow] = []
      prepared.reserveCapacity(stretch.count)
      for index in stretch {
        let row = try rows.row(at: index)
        do throws(SwiftletError) {
          prepared.append(PreparedRow(try encoder.encode(row), encoder))
        } catch {
          throw error.located(at: rows.location(of: index))
        }
      }
      return prepared
    }.flatMap(\.self)
  }
}
