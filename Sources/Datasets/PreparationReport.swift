import Diagnostics
import OrderedJSON

/// What preparation did with a dataset: rows kept, truncated and dropped, and how many tokens are trained.
public struct PreparationReport: Sendable, Hashable {
  /// The number of rows read.
  public var rows = 0
  /// The number of rows of each format, in order of first appearance.
  public var formats: [(name: String, rows: Int)] = []
  /// The number of rows that were kept.
  public var keptRows = 0
  /// The number of rows longer than `max_length` that lost tokens.
  public var truncatedRows = 0
  /// The number of rows dropped because all their tokens are masked after truncation.
  public var fullyMaskedRows = 0
  /// The number of rows dropped because they have no tokens.
  public var emptyRows = 0
  /// The number of rows dropped because they are longer than `max_length`, where a row must not be truncated.
  public var overlongRows = 0
  /// Whether tokens are predicted. If not, whole sequences are scored, and the figures of trained tokens mean nothing.
  public var predictsTokens = true
  /// The number of examples, or of packs with packing.
  public var items = 0
  /// The number of tokens in all items.
  public var tokens = 0
  /// The number of tokens lost to `max_length`.
  public var truncatedTokens = 0
  /// The number of tokens per epoch that are predicted and count in the loss.
  public var trainedTokens = 0
  /// The number of rows whose last trained token is an added token such as EOS, so that the model learns to stop.
  public var rowsWithTrainedEOS = 0
  /// The number of rows that begin with two BOS tokens.
  public var rowsWithDoubledBOS = 0
  /// The number of rows whose prompt, tokenized alone, is not a prefix of the row, and the end of the first such
  /// prompt.
  public var promptMismatches: (rows: Int, example: String)?
  /// A histogram of row lengths before truncation: the number of rows with at most `limit` tokens and more than half
  /// as many.
  public var lengths: [(limit: Int, rows: Int)] = []
  /// The number of tokens of the longest row before truncation.
  public var longestRow = 0
  /// Remarks on data, template and options, without duplicates, one sentence each.
  public var notes: [String] = []
  /// Whether the rows are prompts alone, of which no token is trained.
  public var holdsPrompts = false
  /// Whether the set was prepared in an earlier run and read from the cache.
  public var isFromCache = false

  /// The fraction of tokens that are trained, from 0 to 1.
  public var trainedShare: Double { tokens == 0 ? 0 : Double(trainedTokens) / Double(tokens) }

  /// Whether both reports have the same content.
  public static func == (a: PreparationReport, b: PreparationReport) -> Bool { a.json == b.json }

  /// Hashes what `==` compares.
  public func hash(into hasher: inout Hasher) { hasher.combine(json) }

  /// The report as a JSON object.
  public var json: JSONValue {
    var object = JSONObject([
      ("rows", .integer(rows)),
      ("forms", .object(JSONObject(formats.map { ($0.name, .integer($0.rows)) }))),
      ("kept_rows", .integer(keptRows)), ("truncated_rows", .integer(truncatedRows)),
      ("masked_rows", .integer(fullyMaskedRows)), ("empty_rows", .integer(emptyRows)), ("items", .integer(items)),
      ("tokens", .integer(tokens)), ("lost_tokens", .integer(truncatedTokens)),
      ("trained_tokens", .integer(trainedTokens)), ("trained_share", .number(trainedShare)),
      ("stop_trained_rows", .integer(rowsWithTrainedEOS)), ("longest_row", .integer(longestRow)),
      ("lengths", .object(JSONObject(lengths.map { (String($0.limit), .integer($0.rows)) }))),
    ])
    object["overlong_rows"] = .integer(overlongRows)
    object["predicts_tokens"] = .bool(predictsTokens)
    object["doubled_beginnings"] = .integer(rowsWithDoubledBOS)
    object["diverging_prompts"] = promptMismatches.map { ["rows": .integer($0.rows), "example": .string($0.example)] }
    if holdsPrompts { object["prompts"] = true }
    object["notes"] = .array(notes.map { .string($0) })
    object["warnings"] = .array(warnings.map { .string($0) })
    return .object(object)
  }

  /// Creates the report of a dataset without rows.
  public init() {}

  /// Reads what `json` wrote; `nil` if a key is missing.
  init?(_ json: JSONValue) {
    let numbers: [(WritableKeyPath<PreparationReport, Int>, String)] = [
      (\.rows, "rows"), (\.keptRows, "kept_rows"), (\.truncatedRows, "truncated_rows"),
      (\.fullyMaskedRows, "masked_rows"), (\.emptyRows, "empty_rows"), (\.items, "items"), (\.tokens, "tokens"),
      (\.truncatedTokens, "lost_tokens"), (\.trainedTokens, "trained_tokens"),
      (\.rowsWithTrainedEOS, "stop_trained_rows"), (\.longestRow, "longest_row"),
      (\.rowsWithDoubledBOS, "doubled_beginnings"), (\.overlongRows, "overlong_rows"),
    ]
    for (property, key) in numbers {
      guard let value = json[key]?.integer else { return nil }
      self[keyPath: property] = value
    }
    for member in json["forms"]?.object?.members ?? [] { formats.append((member.key, member.value.integer ?? 0)) }
    for member in json["lengths"]?.object?.members ?? [] {
      lengths.append((Int(member.key) ?? 0, member.value.integer ?? 0))
    }
    if let diverging = json["diverging_prompts"], let rows = diverging["rows"]?.integer {
      promptMismatches = (rows, diverging["example"]?.string ?? "")
    }
    holdsPrompts = json["prompts"]?.bool ?? false
    predictsTokens = json["predicts_tokens"]?.bool ?? true
    notes = (json["notes"]?.array ?? []).compactMap(\.string)
  }

  /// What the user should know or fix, one sentence each.
  public var warnings: [String] {
    var sentences: [String] = []
    if predictsTokens, keptRows > 0, rowsWithTrainedEOS == 0, !holdsPrompts {
      sentences.append(
        "no row trains a stop token, so the model will not learn to end its answers; make sure that rows end with the "
          + "tokenizer's EOS token or the template's end of turn")
    }
    if fullyMaskedRows > 0 {
      let cause = holdsPrompts ? "their prompts fill max_length" : "all their tokens within max_length are masked"
      sentences.append("\(fullyMaskedRows) rows were dropped: \(cause)")
    }
    if emptyRows > 0 { sentences.append("\(emptyRows) rows were dropped: they have no tokens") }
    if overlongRows > 0 { sentences.append("\(overlongRows) rows were dropped: they are longer than max_length") }
    if truncatedRows > 0 {
      sentences.append("\(truncatedRows) rows were truncated to max_length, which removed \(truncatedTokens) tokens")
    }
    if rowsWithDoubledBOS > 0 {
      sentences.append(
        "\(rowsWithDoubledBOS) rows begin with two BOS tokens because their text already has one; remove it from the "
          + "text")
    }
    if let promptMismatches {
      sentences.append(
        "in \(promptMismatches.rows) rows the prompt is tokenized differently alone than in the whole row, so the "
          + "completion starts where the tokens differ; the first such prompt loses "
          + promptMismatches.example.quotedExcerpt)
    }
    return sentences + notes
  }

  mutating func add(_ row: RowReport) {
    add(format: row.format)
    add(length: row.length)
    if let note = row.note { add(note: note) }
    if let lost = row.lostPrompt {
      promptMismatches = ((promptMismatches?.rows ?? 0) + 1, promptMismatches?.example ?? lost)
    }
    if row.startsWithTwoBOS { rowsWithDoubledBOS += 1 }
    if row.isTooLong { truncatedRows += 1 }
    truncatedTokens += row.truncatedTokens
    if row.trainsEOS { rowsWithTrainedEOS += 1 }
    switch row.outcome {
    case .kept: keptRows += 1
    case .fullyMasked: fullyMaskedRows += 1
    case .empty: emptyRows += 1
    case .tooLong: overlongRows += 1
    }
  }

  private mutating func add(format: String) {
    if let index = formats.firstIndex(where: { $0.name == format }) {
      formats[index].rows += 1
    } else {
      formats.append((format, 1))
    }
  }

  private mutating func add(length: Int) {
    longestRow = max(longestRow, length)
    var limit = 16
    while limit < length { limit *= 2 }
    if let index = lengths.firstIndex(where: { $0.limit >= limit }) {
      if lengths[index].limit == limit { lengths[index].rows += 1 } else { lengths.insert((limit, 1), at: index) }
    } else {
      lengths.append((limit, 1))
    }
  }

  mutating func add(note: String) {
    if !notes.contains(note) { notes.append(note) }
  }
}
