import ChatTemplates

/// The thinking blocks of an answer.
enum ThinkingBlocks: UInt8, CaseIterable, Sendable {
  case none
  /// One complete block.
  case one
  /// The end of a block that the generation prompt has opened.
  case closing
  /// More than one, or one beside a `reasoning_content`.
  case doubled
  /// A block that is not closed.
  case unclosed

  /// What a sentence says about it.
  var description: String {
    switch self {
    case .none: "no thinking block"
    case .one: "a thinking block"
    case .closing: "a </think> without <think>"
    case .doubled: "more than one thinking block"
    case .unclosed: "a <think> that is not closed"
    }
  }

  init(_ answer: String, hasReasoning: Bool) {
    let opened = answer.places(ofBytes: "<think>").count
    let closed = answer.places(ofBytes: "</think>").count
    switch (opened, closed) {
    case (0, 0): self = hasReasoning ? .one : .none
    case _ where hasReasoning || opened > 1 || closed > 1: self = .doubled
    case (1, 0): self = .unclosed
    case (0, 1): self = .closing
    default: self = .one
    }
  }

  /// The text after the thinking block.
  static func answer(in text: String) -> Substring {
    guard text.utf8.contains(UInt8(ascii: "<")), let end = text.places(ofBytes: "</think>").last else {
      return text[...]
    }
    return text[end.upperBound...]
  }
}
