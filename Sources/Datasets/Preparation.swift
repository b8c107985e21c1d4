import Foundation

/// Makes a training set of rows: encodes, masks, cuts and packs them.
public struct Preparation: Sendable {
  private let encoder: RowEncoder
  private let cache: PreparationCache?
  private var options: PreparationOptions { encoder.options }
  private var tokenizer: RowTokenizer { encoder.tokenizer }

  /// Rows encoded together before they are added up in order; bounds what is in flight.
  private static let waveRows = 4096

  /// A preparation with this tokenizer, which looks sets up in `cache` first where there is one.
  public init(
    _ tokenizer: RowTokenizer, options: PreparationOptions = PreparationOptions(), cache: PreparationCache? = nil
  ) {
    encoder = RowEncoder(tokenizer: tokenizer, options: options)
    self.cache = cache
  }

  /// The training set of `rows` and what was done to make it.
  ///
  /// The result does not depend on the number of threads.
  /// - Throws: `DataError` for the first row that cannot be used; also when there are no rows, or nothing is trained on.
  public func prepare(_ rows: any RowSource) throws(DataError) -> (set: TrainingSet, report: PreparationReport) {
    if let limit = options.maxLength, limit < 1 { throw DataError("max_length is \(limit); it must be at least 1") }
    if options.packing != nil, options.maxLength == nil { throw DataError("packing needs max_length; set it") }
    if rows.count == 0 {
      throw DataError("there are no rows; check the file and the steps that filter it", at: rows.place(of: 0))
    }
    guard let cache, let key = try PreparationCache.key(rows, options, tokenizer) else { return try make(rows) }
    if let stored = cache.load(key) { return stored }
    let made = try make(rows)
    cache.store(made.set, made.report, under: key)
    return made
  }

  private func make(_ rows: any RowSource) throws(DataError) -> (set: TrainingSet, report: PreparationReport) {
    var set = TrainingSet()
    var report = PreparationReport()
    report.rows = rows.count
    for start in stride(from: 0, to: rows.count, by: Self.waveRows) {
      let wave = start..<min(start + Self.waveRows, rows.count)
      let encoded = try encode(wave, of: rows)
      for (offset, row) in encoded.enumerated() { append(row, number: start + offset, to: &set, report: &report) }
    }
    arrange(&set)
    try finish(set, &report)
    return (set, report)
  }

  /// What TRL calls `shuffle_dataset` and `packing`.
  private func arrange(_ set: inout TrainingSet) {
    if let packing = options.packing, let length = options.maxLength {
      if let seed = options.shuffleSeed {
        var random = NumPyRandom(seed: seed)
        set = set.reordered(random.permutation(set.documentCount))
      }
      set = set.packed(packing, length: length)
    }
    if let seed = options.shuffleSeed {
      var random = NumPyRandom(seed: seed)
      let items = set.items
      set.items = random.permutation(items.count).map { items[$0] }
    }
  }

  private func finish(_ set: TrainingSet, _ report: inout PreparationReport) throws(DataError) {
    report.items = set.items.count
    report.tokens = set.tokenCount
    if options.packing != nil { report.lostTokens = set.ids.count - report.tokens }
    for item in set.items {
      for piece in item {
        report.trainedTokens += set.labels[piece.dropFirst()].reduce(0) { $0 + ($1 == Example.masked ? 0 : 1) }
      }
    }
    if report.trainedTokens == 0 {
      let cause = report.warnings.first ?? "check the masks and max_length"
      throw DataError("none of the \(report.rows) rows has a token to train on; \(cause)")
    }
  }
}

extension Preparation {
  /// The rows of `wave`, encoded on several threads.
  private func encode(_ wave: Range<Int>, of rows: any RowSource) throws(DataError) -> [RowEncoder.Encoded] {
    let chunkRows = 32
    let chunks = stride(from: wave.lowerBound, to: wave.upperBound, by: chunkRows).map {
      $0..<min($0 + chunkRows, wave.upperBound)
    }
    let threads = max(1, min(options.threads ?? ProcessInfo.processInfo.activeProcessorCount, chunks.count))
    let results = ChunkResults(count: chunks.count)
    // A thread takes every so-maniest chunk; each result has its place, so the order of work leaves no trace.
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      for chunk in stride(from: thread, to: chunks.count, by: threads) {
        results[chunk] = encodeChunk(chunks[chunk], of: rows)
      }
    }
    var encoded: [RowEncoder.Encoded] = []
    encoded.reserveCapacity(wave.count)
    for chunk in chunks.indices { encoded += try results[chunk].get() }
    return encoded
  }

  private func encodeChunk(_ chunk: Range<Int>, of rows: any RowSource) -> Result<[RowEncoder.Encoded], DataError> {
    var encoded: [RowEncoder.Encoded] = []
    for index in chunk {
      do throws(DataError) {
        let row = try rows.row(at: index)
        do throws(DataError) {
          encoded.append(try encoder.encode(row))
        } catch {
          return .failure(error.located(at: rows.place(of: index)))
        }
      } catch {
        return .failure(error)
      }
    }
    return .success(encoded)
  }

  private func append(
    _ row: RowEncoder.Encoded, number: Int, to set: inout TrainingSet, report: inout PreparationReport
  ) {
    report.add(row.form)
    report.add(length: row.ids.count)
    report.add(note: row.note)
    if let lost = row.lostPrompt {
      report.divergingPrompts = ((report.divergingPrompts?.rows ?? 0) + 1, report.divergingPrompts?.example ?? lost)
    }
    if let first = tokenizer.beginningOfText, row.ids.starts(with: [first, first]) { report.doubledBeginnings += 1 }

    var example = Example(ids: row.ids, labels: row.labels, row: number)
    if options.packing == nil, let limit = options.maxLength {
      if row.ids.count > limit {
        report.truncatedRows += 1
        report.lostTokens += row.ids.count - limit
        example.ids = Array(options.truncation == .keepStart ? row.ids.prefix(limit) : row.ids.suffix(limit))
        example.labels = Array(options.truncation == .keepStart ? row.labels.prefix(limit) : row.labels.suffix(limit))
      }
      if !example.ids.isEmpty, example.labels.allSatisfy({ $0 == Example.masked }) {
        report.maskedRows += 1
        return
      }
    } else if options.packing == .bfd, let limit = options.maxLength, row.ids.count > limit {
      report.truncatedRows += 1
    }
    if example.ids.isEmpty {
      report.emptyRows += 1
      return
    }
    report.keptRows += 1
    if trainsStop(example) { report.stopTrainedRows += 1 }
    set.append(example)
  }

  /// Whether the last token trained on, blanks aside, is an added one: a turn's or a text's end and no content.
  private func trainsStop(_ example: Example) -> Bool {
    for label in example.labels.reversed() where label != Example.masked {
      if tokenizer.isAdded(label) { return true }
      if !tokenizer.decode(label).allSatisfy(\.isWhitespace) { return false }
    }
    return false
  }
}

/// A slot a chunk, filled from any thread.
private final class ChunkResults: @unchecked Sendable {
  // Sendable because `slots` is only touched while `lock` is held.
  private let lock = NSLock()
  private var slots: [Result<[RowEncoder.Encoded], DataError>]

  init(count: Int) { slots = Array(repeating: .success([]), count: count) }

  subscript(index: Int) -> Result<[RowEncoder.Encoded], DataError> {
    get { lock.withLock { slots[index] } }
    set { lock.withLock { slots[index] = newValue } }
  }
}

extension TrainingSet {
  /// The same documents in another order, each an item of its own.
  func reordered(_ order: [Int]) -> TrainingSet {
    var result = TrainingSet()
    for index in order { if let example = example(index) { result.append(example) } }
    return result
  }
}
