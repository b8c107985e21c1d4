import ChatTemplates
import Diagnostics
import Tensors

extension RowEncoder {
  /// Encodes a row with a preferred and a rejected completion as two examples, in this order. There are none if the row
  /// is dropped; the report says why.
  /// - Throws: `SwiftletError` without a location.
  func preparePair(_ row: Row, number: Int) throws(SwiftletError) -> (examples: [Example], report: RowReport) {
    let format = try PreferenceFormat(pair: row)
    var report = RowReport(format: format.name)
    let (prompt, wholes) = try encode(format, row)
    // The prompt ends where its tokens and those of either completion differ.
    let shared = wholes.reduce(prompt.count) { min($0, zip(prompt, $1).prefix { $0 == $1 }.count) }
    if shared < prompt.count { report.lostPrompt = prompt[shared...].map(tokenizer.decode).joined() }
    var examples = wholes.map { ids in
      var example = Example(ids: ids, labels: ids, row: number)
      example.maskLabels { $0 < shared }
      return example
    }
    report.truncate(&examples, tokenizer, options)
    return (examples, report)
  }

  /// The tokens of the prompt, and of the prompt with each completion.
  private func encode(
    _ format: PreferenceFormat, _ row: Row
  ) throws(SwiftletError) -> (prompt: [Int32], wholes: [[Int32]]) {
    switch format {
    case .text(let prompt, let completions):
      return (
        tokenizer.encode(prompt, true), completions.map { tokenizer.encode(prompt + endingWithEOS($0), true) }
      )
    case .messages(let prompt, let completions):
      var wholes: [[Int32]] = []
      for completion in completions { wholes.append(try encodeConversation(prompt + completion, row).ids) }
      return (try encodeConversation(prompt, row, addsGenerationPrompt: true).ids, wholes)
    }
  }

  /// Encodes a row with a completion and a label as one example, whose value is 1 if the completion is desirable, or two
  /// for a row with `chosen` and `rejected`. Each is one item. They are not truncated: the builder does that, after
  /// exchanging completions.
  /// - Throws: `SwiftletError` without a location.
  func prepareLabeled(_ row: Row, number: Int) throws(SwiftletError) -> (examples: [Example], report: RowReport) {
    let isPair = row.present("completion") == nil && row.present("chosen") != nil
    let format = try isPair ? PreferenceFormat(pair: row) : PreferenceFormat(completion: row)
    var report = RowReport(format: format.name)
    let labels: [Bool]
    if isPair {
      labels = [true, false]
    } else {
      guard let label = row.present("label") else {
        throw SwiftletError.data(
          "the row needs a \"label\", true if its completion is desirable, else false", column: "label")
      }
      guard let value = label.bool ?? label.integer.flatMap({ [0: false, 1: true][$0] }) else {
        throw RowFormat.wrongKind(label, "true or false", "label")
      }
      labels = [value]
    }
    let (prompt, wholes) = try encode(format, row)
    let examples = zip(wholes, labels).map { ids, label in
      let shared = zip(ids, prompt).prefix { $0 == $1 }.count
      if shared < prompt.count { report.lostPrompt = prompt[shared...].map(tokenizer.decode).joined() }
      var example = Example(ids: ids, labels: ids, row: number)
      example.maskLabels { $0 < shared }
      example.value = label ? 1 : 0
      return example
    }
    // The report is about what is left after truncation.
    var truncated = examples
    report.truncate(&truncated, tokenizer, options)
    return (truncated.isEmpty ? [] : examples, report)
  }
}

extension RowEncoder {
  /// Encodes the prompt of a row, without labels. A prompt of `max_length` tokens or more is dropped.
  /// - Throws: `SwiftletError` without a location.
  func preparePrompt(_ row: Row, number: Int) throws(SwiftletError) -> (examples: [Example], report: RowReport) {
    let ids: [Int32]
    var report: RowReport
    switch row.present("prompt") {
    case .string(let text)?:
      report = RowReport(format: "prompt")
      ids = tokenizer.encode(text, true)
    case .array(let messages)?:
      report = RowReport(format: "prompt as messages")
      let messages = try RowFormat.messages(.array(messages), column: "prompt")
      ids = try encodeConversation(messages, row, addsGenerationPrompt: true).ids
    case let other?: throw RowFormat.wrongKind(other, "a string or a list of messages", "prompt")
    case nil:
      throw SwiftletError.data(
        "the row needs a \"prompt\", but has the columns \(row.columnList); rename a column with rename_columns",
        column: "prompt")
    }
    report.length = ids.count
    report.startsWithTwoBOS = tokenizer.bosTokenID.map { ids.starts(with: [$0, $0]) } ?? false
    report.outcome = ids.isEmpty ? .empty : options.maxLength.map { ids.count >= $0 } ?? false ? .fullyMasked : .kept
    guard report.outcome == .kept else { return ([], report) }
    let labels = [Int32](repeating: TokenBatch.ignoredLabel, count: ids.count)
    return ([Example(ids: ids, labels: labels, row: number)], report)
  }
}

extension RowReport {
  /// Truncates each example of a row to `max_length`, and drops all of them if one has nothing left to train on.
  mutating func truncate(_ examples: inout [Example], _ tokenizer: RowTokenizer, _ options: PreparationOptions) {
    var parts = examples.map { _ in self }
    for index in examples.indices { parts[index].truncate(&examples[index], tokenizer, options) }
    length = parts.map(\.length).max() ?? 0
    isTooLong = parts.contains(where: \.isTooLong)
    truncatedTokens = parts.reduce(0) { $0 + $1.truncatedTokens }
    trainsEOS = parts.allSatisfy(\.trainsEOS)
    startsWithTwoBOS = parts.contains(where: \.startsWithTwoBOS)
    outcome = parts.map(\.outcome).first { $0 != .kept } ?? .kept
    if outcome != .kept { examples = [] }
  }
}
