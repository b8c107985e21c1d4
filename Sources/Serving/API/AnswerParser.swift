import OrderedJSON

/// Splits a streamed answer into reasoning, content and tool calls, by the markers that models write.
package struct AnswerParser {
  package enum Part: Hashable {
    case content(String)
    case reasoning(String)
    case toolCall(name: String, arguments: String)
  }

  private enum State { case content, reasoning, toolCall }
  private var state: State
  private let readsToolCalls: Bool
  /// Text that is held back because it may be part of a marker, or is a tool call.
  private var held = ""
  private var isAtStart = true
  /// Whether line breaks that come next separate parts and belong to none.
  private var dropsNewlines = false

  private static let thinkStart = "<think>"
  private static let thinkEnd = "</think>"
  private static let callStart = "<tool_call>"
  private static let callEnd = "</tool_call>"

  /// - Parameters:
  ///   - readsToolCalls: whether the client has offered tools.
  ///   - beginsInReasoning: whether the prompt ends with `<think>`.
  package init(readsToolCalls: Bool, beginsInReasoning: Bool) {
    self.readsToolCalls = readsToolCalls
    state = beginsInReasoning ? .reasoning : .content
  }

  package mutating func append(_ text: String) -> [Part] {
    held += text
    var parts: [Part] = []
    while let part = next() { parts += part }
    return parts
  }

  /// The rest, at the end of the answer.
  package mutating func finish() -> [Part] {
    defer { held = "" }
    switch state {
    case .reasoning: return held.isEmpty ? [] : [.reasoning(held)]
    case .toolCall: return Self.call(held).map { [$0] } ?? [.content(Self.callStart + held)]
    case .content:
      if readsToolCalls, isAtStart, let call = Self.call(held) { return [call] }
      return held.isEmpty ? [] : [.content(held)]
    }
  }

  /// The next parts that are certain; `nil` if more text is needed.
  private mutating func next() -> [Part]? {
    switch state {
    case .reasoning: return upTo(Self.thinkEnd, then: .content) { .reasoning($0) }
    case .toolCall:
      guard let end = held.firstRange(of: Self.callEnd) else { return nil }
      let text = String(held[..<end.lowerBound])
      held = String(held[end.upperBound...])
      state = .content
      dropsNewlines = true
      return [Self.call(text) ?? .content(Self.callStart + text + Self.callEnd)]
    case .content:
      if isAtStart {
        let start = held.drop(while: \.isWhitespace)
        if start.isEmpty || (start.count < Self.thinkStart.count && Self.thinkStart.hasPrefix(start)) { return nil }
        if start.hasPrefix(Self.thinkStart) {
          held = String(start.dropFirst(Self.thinkStart.count))
          (state, isAtStart) = (.reasoning, false)
          return []
        }
        // Llama writes a call as a bare object, which only its end tells from other JSON.
        if readsToolCalls, start.first == "{" { return nil }
      }
      guard readsToolCalls else { return upTo(nil, then: .content) { .content($0) } }
      return upTo(Self.callStart, then: .toolCall) { .content($0) }
    }
  }

  private mutating func upTo(_ marker: String?, then next: State, _ part: (String) -> Part) -> [Part]? {
    if dropsNewlines { held = String(held.drop(while: \.isNewline)) }
    guard !held.isEmpty else { return nil }
    dropsNewlines = false
    if let marker, let range = held.firstRange(of: marker) {
      let text = String(held[..<range.lowerBound])
      held = String(held[range.upperBound...])
      state = next
      isAtStart = false
      dropsNewlines = next == .content
      return text.isEmpty || (next == .toolCall && text.allSatisfy(\.isWhitespace)) ? [] : [part(text)]
    }
    let kept = marker.map { held.lengthOfSuffix(beginning: $0) } ?? 0
    guard kept < held.count else { return nil }
    let split = held.index(held.endIndex, offsetBy: -kept)
    let text = String(held[..<split])
    held = String(held[split...])
    isAtStart = false
    return [part(text)]
  }

  private static func call(_ text: String) -> Part? {
    guard let json = try? JSONValue(parsing: text), let name = json["name"]?.string,
      let arguments = json["arguments"] ?? json["parameters"]
    else { return nil }
    return .toolCall(name: name, arguments: arguments.string ?? arguments.text(.compact))
  }
}
