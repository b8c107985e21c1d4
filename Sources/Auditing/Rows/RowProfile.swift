import ChatTemplates
import Datasets
import Diagnostics
import OrderedJSON

/// What an audit keeps of a row: numbers and hashes, not its text.
struct RowProfile: Sendable {
  /// What needs no comparison with other rows.
  struct Faults: OptionSet, Sendable {
    let rawValue: UInt8
    static let unreadable = Faults(rawValue: 1)
    static let emptyPrompt = Faults(rawValue: 2)
    static let emptyAnswer = Faults(rawValue: 4)
    static let doubleEncodedArguments = Faults(rawValue: 8)
    static let conversation = Faults(rawValue: 16)
    static let tooLong = Faults(rawValue: 32)
  }

  /// A prompt or an answer in numbers.
  struct Side: Sendable {
    /// The number of words, or of characters in languages without spaces.
    var units: Int32 = 0
    /// How many of them are common in the set.
    var commonUnits: Int32 = 0
    /// The number of units that are not numbers.
    var words: Int32 = 0
    var script = Script.other

    init() {}

    init(_ text: TextUnits, common: Set<UInt64>) {
      units = Int32(clamping: text.hashes.count)
      commonUnits = Int32(clamping: text.hashes.reduce(0) { $0 + (common.contains($1) ? 1 : 0) })
      let (script, words) = text.script
      self.script = script
      self.words = Int32(clamping: words)
    }
  }

  var faults: Faults = []
  /// Hashes of everything, and of the prompt, without differences in white space.
  var content: UInt64 = 0
  var promptHash: UInt64 = 0
  var prompt = Side()
  var answer = Side()
  var format = AnswerFormat.prose
  var ending = AnswerEnding.closed
  var thinking = ThinkingBlocks.none
  /// The markers of `SpecialText` in the row.
  var markers: UInt64 = 0

  private init(faults: Faults) { self.faults = faults }

  /// The profile of a row, and its signature unless it has too little text of its own.
  /// - Parameter row: `nil` if it cannot be read.
  static func make(
    _ row: Row?, textField: String, set: SetProfile, special: SpecialText, tokenCount: RowTokenCount?
  ) -> (profile: RowProfile, signature: MinHash?) {
    guard let row, let text = try? RowText(row, textField: textField) else {
      return (RowProfile(faults: .unreadable), nil)
    }
    var profile = RowProfile(faults: text.isConversation ? .conversation : [])
    if text.isTokens {
      profile.content = hash(JSONValue.object(row).text(.compact), ignoresSpace: false)
      return (profile, nil)
    }
    let (promptUnits, answerUnits) = (TextUnits(text.prompt), TextUnits(text.answer))
    profile.prompt = Side(promptUnits, common: set.promptUnits)
    profile.answer = Side(answerUnits, common: set.answerUnits)
    profile.promptHash = hash(text.prompt)
    profile.content = text.answers.reduce(profile.promptHash) { TextUnits.mix($0 &* 31 &+ hash($1)) }
    profile.describe(text)
    profile.markers = profile.findMarkers(text, special)
    if let tokenCount, tokenCount.exceedsLimit(row, byteCount: text.byteCount) { profile.faults.insert(.tooLong) }
    let others = text.rejected.map { TextUnits($0).shingles } ?? []
    let own = (promptUnits.shingles + answerUnits.shingles + others).filter { !set.shingles.contains($0) }
    return (profile, own.count < leastShingles ? nil : MinHash(own))
  }

  /// Fewer shingles of its own say too little about a row.
  static let leastShingles = 5

  private mutating func describe(_ text: RowText) {
    if text.prompt.isBlank { faults.insert(.emptyPrompt) }
    let answer = ThinkingBlocks.answer(in: text.answer)
    if answer.isBlank || text.answers.contains(where: \.isBlank) { faults.insert(.emptyAnswer) }
    format = AnswerFormat(answer, unitCount: Int(self.answer.units))
    ending = AnswerEnding(answer)
    let reasoning = text.messages.filter { $0.role == "assistant" }.map { $0.reasoningContent != nil }
    thinking =
      text.answers.enumerated().map { index, answer in
        ThinkingBlocks(answer, hasReasoning: index < reasoning.count && reasoning[index])
      }.max { $0.rawValue < $1.rawValue } ?? .none
    let callsTwice =
      text.isConversation
      ? text.messages.contains(where: ToolArguments.areEncodedTwice) : ToolArguments.areEncodedTwice(in: text.answer)
    if callsTwice {
      faults.insert(.doubleEncodedArguments)
    }
  }

  private func findMarkers(_ text: RowText, _ special: SpecialText) -> UInt64 {
    if text.isConversation { return text.messages.reduce(0) { $0 | special.found(in: $1.content) } }
    return special.found(in: text.prompt) | special.found(in: text.answer)
  }

  /// A hash of the bytes of a text; runs of white space count as one space, and those at the ends not at all.
  private static func hash(_ text: String, ignoresSpace: Bool = true) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    var isAfterSpace = false
    var isEmpty = true
    for byte in text.utf8 {
      if ignoresSpace, byte == 0x20 || (9...13).contains(byte) {
        isAfterSpace = true
        continue
      }
      if isAfterSpace, !isEmpty { hash = (hash ^ 0x20) &* 0x100_0000_01B3 }
      (isAfterSpace, isEmpty) = (false, false)
      hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
    }
    return TextUnits.mix(hash)
  }
}

extension StringProtocol {
  /// Whether the text has nothing but white space.
  fileprivate var isBlank: Bool { unicodeScalars.allSatisfy(\.properties.isWhitespace) }
}

extension RowText {
  /// The size of the text in bytes, which is at least the number of its tokens.
  fileprivate var byteCount: Int { prompt.utf8.count + answer.utf8.count }
}
