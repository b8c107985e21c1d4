import ChatTemplates
import Diagnostics
import Tensors

/// Rows whose sequences are scored as a whole. Nothing in them is predicted: only the last token has a label, so that
/// what the sequences of an item begin with can be computed once.
extension RowEncoder {
  /// Encodes a row with a preferred and a rejected text or conversation as two examples, as TRL's `RewardTrainer` does.
  /// There are none if one of them is longer than the limit.
  /// - Throws: `SwiftletError` without a location.
  func prepareScoredPair(_ row: Row, number: Int) throws(SwiftletError) -> (examples: [Example], report: RowReport) {
    let sides = ["chosen", "rejected"]
    let prompt = row.present("prompt")
    var report = RowReport(format: (prompt == nil ? "" : "prompt, ") + "chosen and rejected")
    let margin = try self.margin(row)
    var examples: [Example] = []
    for side in sides {
      guard let value = row.present(side) else {
        throw SwiftletError.data(
          "the row has the columns \(row.columnList), but needs \"chosen\" and \"rejected\"; rename columns with "
            + "rename_columns", column: side)
      }
      let ids: [Int32]
      switch (prompt, value) {
      case (nil, .string(let text)): ids = tokenizer.encode(endingWithEOS(text), true)
      case (.string(let prompt), .string(let text)): ids = tokenizer.encode(prompt + endingWithEOS(text), true)
      case (nil, .array): ids = try encodeConversation(RowFormat.messages(value, column: side), row).ids
      case (.some(.array(let prompt)), .array):
        let messages = try RowFormat.messages(.array(prompt), column: "prompt")
        ids = try encodeConversation(messages + RowFormat.messages(value, column: side), row).ids
      case (_, .string): throw RowFormat.wrongKind(prompt ?? .null, "a string like \(side)", "prompt")
      case (_, .array): throw RowFormat.wrongKind(prompt ?? .null, "a list of messages like \(side)", "prompt")
      default: throw RowFormat.wrongKind(value, "a string or a list of messages", side)
      }
      examples.append(scored(ids, number: number, value: margin))
    }
    report.length = examples.map(\.ids.count).max() ?? 0
    if examples.contains(where: \.ids.isEmpty) {
      report.outcome = .empty
    } else if let limit = options.maxLength, report.length > limit {
      report.outcome = .tooLong
    }
    return (report.outcome == .kept ? examples : [], report)
  }

  private func margin(_ row: Row) throws(SwiftletError) -> Float {
    guard let value = row.present("margin") else { return 0 }
    guard let margin = value.double, margin.isFinite else { throw RowFormat.wrongKind(value, "a number", "margin") }
    return Float(margin)
  }

  /// Encodes a text or conversation as one example, with the number of its label as the value. It is truncated.
  /// - Parameters:
  ///   - labels: the labels; `nil` to look for none.
  ///   - endsWithEOS: whether a text gets the EOS token, as those of pairs do.
  /// - Throws: `SwiftletError` without a location.
  func prepareScored(
    _ row: Row, number: Int, labels: ClassLabels?, endsWithEOS: Bool
  ) throws(SwiftletError) -> (examples: [Example], report: RowReport) {
    let format = try RowFormat(row, textField: options.textField, hasTemplate: tokenizer.render != nil)
    var report = RowReport(format: format.name + (labels == nil ? "" : " with label"))
    func ended(_ text: String) -> String { endsWithEOS ? endingWithEOS(text) : text }
    let ids: [Int32]
    switch format {
    case .text(let text): ids = tokenizer.encode(ended(text), true)
    case .completion(let prompt, let completion): ids = tokenizer.encode(prompt + ended(completion), true)
    case .conversation(let messages): ids = try encodeConversation(messages, row).ids
    case .conversationCompletion(let prompt, let completion): ids = try encodeConversation(prompt + completion, row).ids
    case .tokens(let row): ids = try numbers(row, "input_ids")
    }
    var example = Example(ids: ids, labels: ids, row: number)
    report.length = ids.count
    if let limit = options.maxLength, ids.count > limit {
      report.isTooLong = true
      report.truncatedTokens = ids.count - limit
      example.truncate(to: limit, keeping: options.truncation)
    }
    let value = try labels?.number(of: row)
    if ids.isEmpty { report.outcome = .empty }
    return (ids.isEmpty ? [] : [scored(example.ids, number: number, value: Float(value ?? 0))], report)
  }

  private func scored(_ ids: [Int32], number: Int, value: Float) -> Example {
    var example = Example(ids: ids, labels: ids, row: number)
    example.maskLabels { $0 < ids.count - 1 }
    example.value = value
    return example
  }
}
