import ChatTemplates
import OrderedJSON

/// The fixed texts that a chat template puts around each turn, if that is all it does.
///
/// They are found by rendering conversations with known contents, and accepted only if they predict how the template
/// renders other conversations.
package struct ChatTurns: Sendable, Equatable {
  /// The texts around a message.
  package struct Turn: Sendable, Equatable {
    package var before: String
    package var after: String

    package init(before: String, after: String) {
      self.before = before
      self.after = after
    }
  }

  /// How the template renders a system message.
  package enum System: Sendable, Equatable {
    /// As a turn of its own.
    case turn(Turn)
    /// In the first user's turn, before the user's text and this separator.
    case beforeUser(separator: String)
    /// Not at all: the template rejects or drops it.
    case none
  }

  /// The text at the start of a conversation.
  package let start: String
  package let system: System
  package let user: Turn
  package let assistant: Turn
  /// The generation prompt: usually the text before an assistant message.
  package let generationPrompt: String
  /// The system message that the template adds to a conversation without one; empty if it adds an empty turn.
  package let defaultSystem: String?

  /// Finds the turns of a template; `nil` if it does more than add fixed texts.
  package init?(_ template: ChatTemplate, variables: JSONObject) {
    let probe = ChatProbe(template: template, variables: variables)
    // A date would be that of the export forever.
    guard !template.source.contains("strftime_now"),
      let conversation = probe.render(
        [("user", "Qv1"), ("assistant", "Av1"), ("user", "Qv2")], generationPrompt: true),
      let (opening, rest) = conversation.split(around: "Qv1"), let (toAnswer, again) = rest.split(around: "Av1"),
      let (toQuestion, asking) = again.split(around: "Qv2")
    else { return nil }
    let asked = probe.render([("user", "Qv1")], generationPrompt: false)?.split(around: "Qv1")?.after ?? ""
    let answered = probe.render([("user", "Qv1"), ("assistant", "Av1")], generationPrompt: false)?.split(around: "Av1")?
      .after
    // The text between two turns doesn't show where one ends; the end of a conversation usually does.
    let ending = toAnswer.hasPrefix(asked) && asking.hasPrefix(asked) ? asked : ""
    let common = String(zip(opening.reversed(), toQuestion.reversed()).prefix { $0 == $1 }.map(\.0).reversed())
    var beginnings = [common]
    if let answered, toQuestion.hasPrefix(answered) {
      beginnings.insert(String(toQuestion.dropFirst(answered.count)), at: 0)
    }
    let instructed = probe.render([("system", "Sv1"), ("user", "Qv1")], generationPrompt: true)?.split(around: "Sv1")
    for beginning in beginnings where opening.hasSuffix(beginning) && toQuestion.hasSuffix(beginning) {
      let turns = ChatTurns(
        user: Turn(before: beginning, after: ending),
        assistant: Turn(
          before: String(toAnswer.dropFirst(ending.count)), after: String(toQuestion.dropLast(beginning.count))),
        generationPrompt: String(asking.dropFirst(ending.count)), opening: String(opening.dropLast(beginning.count)),
        instructed: instructed.flatMap { before, rest in
          rest.split(around: "Qv1").map { (before, between: $0.before) }
        }, bos: probe.bos)
      if turns.agrees(with: probe) {
        self = turns
        return
      }
    }
    return nil
  }

  /// - Parameters:
  ///   - opening: the text before the first user's turn.
  ///   - instructed: with a system message, the texts before it and between it and the user's text.
  private init(
    user: Turn, assistant: Turn, generationPrompt: String, opening: String,
    instructed: (before: String, between: String)?,
    bos: String
  ) {
    self.user = user
    self.assistant = assistant
    self.generationPrompt = generationPrompt
    if let (before, between) = instructed, between.hasSuffix(user.before) {
      // If every turn begins with BOS, as in SmolLM2's template, it is part of the turns.
      let bos = user.before.hasPrefix(bos) ? "" : bos
      let after = String(between.dropLast(user.before.count))
      (start, system, defaultSystem) = Self.withSystemTurn(opening, before, after, bos)
    } else if let (before, between) = instructed, before == opening + user.before {
      (start, system, defaultSystem) = (opening, .beforeUser(separator: between), nil)
    } else {
      (start, system, defaultSystem) = (opening, .none, nil)
    }
  }

  /// The start is the text before the system's turn: BOS, or nothing.
  private static func withSystemTurn(
    _ opening: String, _ before: String, _ after: String, _ bos: String
  ) -> (String, System, String?) {
    let start = !bos.isEmpty && before.hasPrefix(bos) ? bos : ""
    let turn = Turn(before: String(before.dropFirst(start.count)), after: after)
    guard opening.hasPrefix(before), opening.hasSuffix(after), opening.count >= before.count + after.count,
      opening != start
    else {
      return (start, .turn(turn), nil)
    }
    return (start, .turn(turn), String(opening.dropFirst(before.count).dropLast(after.count)))
  }

  /// Conversations whose rendering the turns must predict.
  private static let conversations: [[(role: String, text: String)]] = [
    [("user", "How are you?\nWell?")],
    [("system", "Be brief: {x}."), ("user", "One"), ("assistant", "Two"), ("user", "Three.")],
    [("user", "A b"), ("assistant", "c"), ("user", "D"), ("assistant", "e"), ("user", "F?")],
  ]

  private func agrees(with probe: ChatProbe) -> Bool {
    for conversation in Self.conversations {
      if system == .none, conversation.first?.role == "system" { continue }
      guard probe.render(conversation, generationPrompt: true) == text(of: conversation) else { return false }
    }
    return true
  }

  /// The predicted rendering of a conversation that ends with a user message, with the generation prompt.
  private func text(of conversation: [(role: String, text: String)]) -> String {
    var text = start
    var pending = ""
    if conversation.first?.role != "system", let defaultSystem, case .turn(let turn) = system {
      text += turn.before + defaultSystem + turn.after
    }
    for message in conversation {
      switch (message.role, system) {
      case ("system", .turn(let turn)): text += turn.before + message.text + turn.after
      case ("system", .beforeUser(let separator)): pending = message.text + separator
      case ("user", _):
        text += user.before + pending + message.text + user.after
        pending = ""
      case ("assistant", _): text += assistant.before + message.text + assistant.after
      default: break
      }
    }
    return text + generationPrompt
  }
}

/// Renders conversations with one template.
private struct ChatProbe {
  let template: ChatTemplate
  let variables: JSONObject

  var bos: String { variables["bos_token"]?.string ?? "" }

  /// `nil` if the template rejects the messages.
  func render(_ messages: [(role: String, text: String)], generationPrompt: Bool) -> String? {
    let messages = messages.map { Message(role: $0.role, content: $0.text) }
    return try? template.render(messages: messages, addGenerationPrompt: generationPrompt, variables: variables).text
  }
}

extension String {
  /// The texts before and after `marker`; `nil` unless it occurs exactly once.
  fileprivate func split(around marker: String) -> (before: String, after: String)? {
    let parts = split(separator: marker, omittingEmptySubsequences: false)
    return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
  }
}
