import ChatTemplates
import Diagnostics
import OrderedJSON

/// Turns one row into ids and labels, as TRL's `Trainer` does.
struct RowEncoder: Sendable {
  let tokenizer: RowTokenizer
  let options: PreparationOptions

  /// Encodes a row and truncates it. There are no examples if the row is dropped; the report says why.
  /// - Throws: `SwiftletError` without a location.
  func prepare(_ row: Row, number: Int) throws(SwiftletError) -> (examples: [Example], report: RowReport) {
    switch options.rowKind {
    case .sequence:
      var (example, report) = try encode(row, number: number)
      report.truncate(&example, tokenizer, options)
      return (report.outcome == .kept ? [example] : [], report)
    case .preferencePair: return try preparePair(row, number: number)
    case .labeledCompletion: return try prepareLabeled(row, number: number)
    case .prompt: return try preparePrompt(row, number: number)
    case .scoredPair: return try prepareScoredPair(row, number: number)
    case .labeledText(let labels): return try prepareScored(row, number: number, labels: labels, endsWithEOS: false)
    case .scoredText(let endsWithEOS):
      return try prepareScored(row, number: number, labels: nil, endsWithEOS: endsWithEOS)
    }
  }

  /// Encodes a row without truncating it.
  /// - Throws: `SwiftletError` without a location.
  func encode(_ row: Row, number: Int) throws(SwiftletError) -> (example: Example, report: RowReport) {
    let format = try RowFormat(row, textField: options.textField, hasTemplate: tokenizer.render != nil)
    var report = RowReport(format: format.name)
    var example = Example(ids: [], labels: [], row: number)
    switch format {
    case .tokens(let row): try encodeTokens(row, &example, &report)
    case .text(let text):
      try rejectAssistantMask()
      example.ids = tokenizer.encode(endingWithEOS(text), true)
      example.labels = example.ids
    case .completion(let prompt, let completion):
      try rejectAssistantMask()
      // As in TRL, EOS goes to the text column instead if the row has one as well.
      let otherText = row[options.textField]?.string
      let otherGetsEOS = otherText.map { $0.utf8.count != endingWithEOS($0).utf8.count } ?? false
      let completion = otherGetsEOS ? completion : endingWithEOS(completion)
      example.ids = tokenizer.encode(prompt + completion, true)
      mask(&example, prompt: tokenizer.encode(prompt, true), assistant: nil, &report)
    case .conversation(let messages):
      let whole = try encodeConversation(messages, row, marksAssistant: options.assistantOnlyLoss)
      example.ids = whole.ids
      example.labels = whole.ids
      if let mask = whole.mask { example.maskLabels { !mask[$0] } }
    case .conversationCompletion(let prompt, let completion):
      let opening = try encodeConversation(prompt, row, addsGenerationPrompt: true)
      let whole = try encodeConversation(prompt + completion, row, marksAssistant: options.assistantOnlyLoss)
      example.ids = whole.ids
      mask(&example, prompt: opening.ids, assistant: whole.mask, &report)
    }
    report.note = report.note ?? note(on: format)
    return (example, report)
  }

  /// A note on what TRL ignores silently.
  private func note(on format: RowFormat) -> String? {
    switch format {
    case .text, .conversation:
      if options.completionOnlyLoss == true {
        return "completion_only_loss has no effect on rows without prompt and completion columns"
      }
    default: break
    }
    let known: Set<String> = ["system", "developer", "user", "assistant", "tool"]
    return format.messages.lazy.map(\.role).first { !known.contains($0) }.map { role in
      "messages have the role \(role.quotedExcerpt), which most chat templates do not know; use system, user, "
        + "assistant and tool"
    }
  }

  private func rejectAssistantMask() throws(SwiftletError) {
    if options.assistantOnlyLoss {
      throw SwiftletError.data("assistant_only_loss needs conversations, but this row is plain text; set it to false")
    }
  }

  /// The text with the EOS token appended, unless it already ends with it.
  func endingWithEOS(_ text: String) -> String {
    guard let eos = tokenizer.eosToken, !text.utf8.hasSuffix(eos.utf8) else { return text }
    return text + eos
  }

  /// Sets the labels: masks the tokens that the example shares with its prompt, unless `completion_only_loss` is false,
  /// and all but the assistant's if there is a mask for them.
  private func mask(_ example: inout Example, prompt: [Int32], assistant: [Bool]?, _ report: inout RowReport) {
    let shared = zip(example.ids, prompt).prefix { $0 == $1 }.count
    example.labels = example.ids
    if options.completionOnlyLoss ?? true { example.maskLabels { $0 < shared } }
    if let assistant { example.maskLabels { !assistant[$0] } }
    if shared < prompt.count { report.lostPrompt = prompt[shared...].map(tokenizer.decode).joined() }
  }

  // MARK: Token ids

  private func encodeTokens(
    _ row: Row, _ example: inout Example, _ report: inout RowReport
  ) throws(SwiftletError) {
    let ids = try numbers(row, "input_ids")
    example.ids = ids
    example.labels = ids
    // Masks that are not used must have the right length too: a row that contradicts itself is broken.
    func mask(_ column: String) throws(SwiftletError) -> [Int32]? {
      row.present(column) == nil ? nil : try numbers(row, column, count: ids.count)
    }
    if try mask("attention_mask")?.contains(0) == true {
      report.note = "attention_mask is ignored: masked tokens are trained like all others, so remove padding"
    }
    var masks = [try mask("assistant_masks")]
    if let completion = try mask("completion_mask") {
      if options.completionOnlyLoss == true {
        masks.append(completion)
      } else {
        report.note = "completion_mask is ignored unless completion_only_loss is true"
      }
    }
    if row.present("labels") != nil {
      example.labels = try numbers(row, "labels", count: ids.count)
      return
    }
    for mask in masks.compactMap(\.self) { example.maskLabels { mask[$0] == 0 } }
  }

  func numbers(_ row: Row, _ column: String, count: Int? = nil) throws(SwiftletError) -> [Int32] {
    guard case .array(let elements)? = row[column] else {
      throw RowFormat.wrongKind(row[column] ?? .null, "a list of numbers", column)
    }
    var numbers: [Int32] = []
    numbers.reserveCapacity(elements.count)
    for element in elements {
      let bit: Int? = element.bool.map { $0 ? 1 : 0 }
      guard let number = (bit ?? element.integer).flatMap(Int32.init(exactly:)) else {
        throw RowFormat.wrongKind(element, "a token id", column)
      }
      numbers.append(number)
    }
    if let count, numbers.count != count {
      throw SwiftletError.data("the list has \(numbers.count) numbers, but input_ids has \(count)", column: column)
    }
    return numbers
  }
}

extension Collection where Element == UInt8 {
  fileprivate func hasSuffix(_ suffix: some Collection<UInt8>) -> Bool {
    count >= suffix.count && dropFirst(count - suffix.count).elementsEqual(suffix)
  }
}
