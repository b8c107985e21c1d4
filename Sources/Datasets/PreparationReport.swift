import OrderedJSON

/// What preparing did to a data set: what was kept, cut and dropped, and how much of it is trained on.
public struct PreparationReport: Sendable, Hashable {
  /// Rows read.
  public var rows = 0
  /// Rows of each form, in order of appearance.
  public var forms: [(name: String, rows: Int)] = []
  /// Rows that became documents.
  public var keptRows = 0
  /// Rows longer than the limit, of which only a part is left.
  public var truncatedRows = 0
  /// Rows dropped because nothing in them is trained on once they are cut.
  public var fullyMaskedRows = 0
  /// Rows dropped because they have no tokens.
  public var emptyRows = 0
  /// Items: documents, or packed items.
  public var items = 0
  /// Tokens of all items.
  public var tokens = 0
  /// Tokens lost to the limit on length.
  public var truncatedTokens = 0
  /// Tokens that are predicted and count in the loss, an epoch.
  public var trainedTokens = 0
  /// Rows whose last trained token is an added token: the model learns to stop there.
  public var rowsWithTrainedEOS = 0
  /// Rows that begin with the token for the beginning of a text twice.
  public var rowsWithDoubledBOS = 0
  /// Rows whose prompt alone is no prefix of the row, and the first such row's lost words.
  public var promptMismatches: (rows: Int, example: String)?
  /// Rows by length before truncation: how many have at most `limit` tokens and more than half of it.
  public var lengths: [(limit: Int, rows: Int)] = []
  /// The tokens of the longest row before truncation.
  public var longestRow = 0
  /// Other things to know, each said once.
  public var notes: [String] = []
  /// Whether all of this was found out in an earlier run.
  public var isFromCache = false

  /// The share of tokens trained on, from 0 to 1.
  public var trainedShare: Double { tokens == 0 ? 0 : Double(trainedTokens) / Double(tokens) }

  /// Equal when they say the same.
  public static func == (a: PreparationReport, b: PreparationReport) -> Bool { a.json == b.json }

  /// Hashes what `==` compares.
  public func hash(into hasher: inout Hasher) { hasher.combine(json) }

  /// The report as an object, its keys named as the properties are.
  public var json: JSONValue {
    var object = JSONObject([
      ("rows", .integer(rows)),
      ("forms", .object(JSONObject(forms.map { ($0.name, .integer($0.rows)) }))),
      ("kept_rows", .integer(keptRows)), ("truncated_rows", .integer(truncatedRows)),
      ("masked_rows", .integer(fullyMaskedRows)), ("empty_rows", .integer(emptyRows)), ("items", .integer(items)),
      ("tokens", .integer(tokens)), ("lost_tokens", .integer(truncatedTokens)),
      ("trained_tokens", .integer(trainedTokens)), ("trained_share", .number(trainedShare)),
      ("stop_trained_rows", .integer(rowsWithTrainedEOS)), ("longest_row", .integer(longestRow)),
      ("lengths", .object(JSONObject(lengths.map { (String($0.limit), .integer($0.rows)) }))),
    ])
    object["doubled_beginnings"] = .integer(rowsWithDoubledBOS)
    object["diverging_prompts"] = promptMismatches.map { ["rows": .integer($0.rows), "example": .string($0.example)] }
    object["notes"] = .array(notes.map { .string($0) })
    object["warnings"] = .array(warnings.map { .string($0) })
    return .object(object)
  }

  /// A report without rows.
  public init() {}

  /// The report that `json` wrote; `nil` if a key is missing.
  init?(_ json: JSONValue) {
    let numbers: [(WritableKeyPath<PreparationReport, Int>, String)] = [
      (\.rows, "rows"), (\.keptRows, "kept_rows"), (\.truncatedRows, "truncated_rows"),
      (\.fullyMaskedRows, "masked_rows"), (\.emptyRows, "empty_rows"), (\.items, "items"), (\.tokens, "tokens"),
      (\.truncatedTokens, "lost_tokens"), (\.trainedTokens, "trained_tokens"),
      (\.rowsWithTrainedEOS, "stop_trained_rows"), (\.longestRow, "longest_row"),
      (\.rowsWithDoubledBOS, "doubled_beginnings"),
    ]
    for (property, key) in numbers {
      guard let value = json[key]?.integer else { return nil }
      self[keyPath: property] = value
    }
    for member in json["forms"]?.object?.members ?? [] { forms.append((member.key, member.value.integer ?? 0)) }
    for member in json["lengths"]?.object?.members ?? [] {
      lengths.append((Int(member.key) ?? 0, member.value.integer ?? 0))
    }
    if let diverging = json["diverging_prompts"], let rows = diverging["rows"]?.integer {
      promptMismatches = (rows, diverging["example"]?.string ?? "")
    }
    notes = (json["notes"]?.array ?? []).compactMap(\.string)
  }

  /// What deserves attention, a sentence each.
  public var warnings: [String] {
    var sentences: [String] = []
    if keptRows > 0, rowsWithTrainedEOS == 0 {
      sentences.append(
        "no row trains its stop token, so the model will not learn to end its answers; "
          + "check that rows end with the tokenizer's EOS token or the template's end of turn")
    }
    if fullyMaskedRows > 0 {
      sentences.append("\(fullyMaskedRows) rows were dropped: cut to max_length, nothing in them is trained on")
    }
    if emptyRows > 0 { sentences.append("\(emptyRows) rows were dropped: they have no tokens") }
    if truncatedRows > 0 {
      sentences.append("\(truncatedRows) rows were cut to max_length, which lost \(truncatedTokens) tokens in all")
    }
    if rowsWithDoubledBOS > 0 {
      sentences.append(
        "\(rowsWithDoubledBOS) rows begin with the BOS token twice, since their text has it already; "
          + "remove it from the text")
    }
    if let promptMismatches {
      sentences.append(
        "in \(promptMismatches.rows) rows the prompt alone is tokenized otherwise than in the whole row, so the "
          + "completion starts where they diverge; the first such prompt loses "
          + JSONValue.string(promptMismatches.example).text())
    }
    return sentences + notes
  }

  /// Counts a row.
  mutating func add(_ row: PreparedRow) {
    add(form: row.form)
    add(length: row.length)
    if let note = row.note { add(note: note) }
    if let lost = row.lostPrompt {
      promptMismatches = ((promptMismatches?.rows ?? 0) + 1, promptMismatches?.example ?? lost)
    }
    if row.beginsTwice { rowsWithDoubledBOS += 1 }
    if row.isTooLong { truncatedRows += 1 }
    truncatedTokens += row.truncatedTokens
    if row.trainsStop { rowsWithTrainedEOS += 1 }
    switch row.fate {
    case .kept: keptRows += 1
    case .masked: fullyMaskedRows += 1
    case .empty: emptyRows += 1
    }
  }

  private mutating func add(form: String) {
    if let index = forms.firstIndex(where: { $0.name == form }) {
      forms[index].rows += 1
    } else {
      forms.append((form, 1))
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
