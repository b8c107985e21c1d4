import ChatTemplates
import OrderedJSON

/// A chat template that writes every turn between fixed words, told by these words.
///
/// They are found by rendering conversations whose texts are known, and believed only if what they predict is what the
/// template writes for others.
package struct ChatTurns: Sendable, Equatable {
  /// What stands around a message.
  package struct Turn: Sendable, Equatable {
    package var before: String
    package var after: String

    package init(before: String, after: String) {
      self.before = before
      self.after = after
    }
  }

  /// Where a system message goes.
  package enum System: Sendable, Equatable {
    /// It has a turn of its own.
    case turn(Turn)
    /// It stands before the text of the first user, with this between them.
    case beforeUser(separator: String)
    /// The template refuses it or leaves it out.
    case none
  }

  /// What a conversation begins with.
  package let start: String
  package let system: System
  package let user: Turn
  package let assistant: Turn
  /// The system message where a conversation has none.
  package let defaultSystem: String?

  /// The turns of a template; `nil` for one that does more than to put words around texts.
  package init?(_ template: ChatTemplate, variables: JSONObject) {
    let probe = ChatProbe(template: template, variables: variables)
    guard let question = probe.render([("user", "Qv1")], answers: true)?.split(around: "Qv1"),
      let unanswered = probe.render([("user", "Qv1")], answers: false)?.split(around: "Qv1"),
      question.after.hasPrefix(unanswered.after), question.before == unanswered.before,
      let second = probe.render([("user", "Qv1"), ("assistant", "Av1"), ("user", "Qv2")], answers: true),
      let rest = second.split(around: "Av1")?.after.split(around: "Qv2")?.before,
      let answered = probe.render([("user", "Qv1"), ("assistant", "Av1")], answers: false)?.split(around: "Av1"),
      rest.hasPrefix(answered.after)
    else { return nil }
    user = Turn(before: String(rest.dropFirst(answered.after.count)), after: unanswered.after)
    assistant = Turn(before: String(question.after.dropFirst(unanswered.after.count)), after: answered.after)
    guard !user.before.isEmpty, question.before.hasSuffix(user.before) else { return nil }
    let opening = String(question.before.dropLast(user.before.count))

    let instructed = probe.render([("system", "Sv1"), ("user", "Qv1")], answers: true)
    if let instructed, let parts = instructed.split(around: "Sv1"), let inner = parts.after.split(around: "Qv1") {
      if inner.before.hasSuffix(user.before) {
        let after = String(inner.before.dropLast(user.before.count))
        // Where every turn begins with BOS, as SmolLM2's do, it belongs to the turns.
        let bos = user.before.hasPrefix(probe.bos) ? "" : probe.bos
        (start, system, defaultSystem) = Self.withSystemTurn(opening, parts.before, after, bos)
      } else {
        guard parts.before == opening + user.before else { return nil }
        (start, system, defaultSystem) = (opening, .beforeUser(separator: inner.before), nil)
      }
    } else {
      (start, system, defaultSystem) = (opening, .none, nil)
    }
    guard agrees(with: probe) else { return nil }
  }

  /// The start is what comes before the system's turn: BOS, or nothing.
  private static func withSystemTurn(
    _ opening: String, _ before: String, _ after: String, _ bos: String
  ) -> (String, System, String?) {
    let start = !bos.isEmpty && before.hasPrefix(bos) ? bos : ""
    let turn = Turn(before: String(before.dropFirst(start.count)), after: after)
    guard opening.hasPrefix(before), opening.hasSuffix(after), opening.count > before.count + after.count else {
      return (start, .turn(turn), nil)
    }
    return (start, .turn(turn), String(opening.dropFirst(before.count).dropLast(after.count)))
  }

  /// Conversations that the turns must predict.
  private static let conversations: [[(role: String, text: String)]] = [
    [("user", "How are you?\nWell?")],
    [("system", "Be brief: {x}."), ("user", "One"), ("assistant", "Two"), ("user", "Three"), ("assistant", "Four.")],
    [("user", "A b"), ("assistant", "c"), ("user", "D"), ("assistant", "e"), ("user", "F?")],
  ]

  private func agrees(with probe: ChatProbe) -> Bool {
    for conversation in Self.conversations {
      if system == .none, conversation.first?.role == "system" { continue }
      let answers = conversation.last?.role == "user"
      guard probe.render(conversation, answers: answers) == text(of: conversation, answers: answers) else {
        return false
      }
    }
    return true
  }

  /// What the template is taken to write.
  package func text(of conversation: [(role: String, text: String)], answers: Bool) -> String {
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
    return answers ? text + assistant.before : text
  }
}

/// Renders conversations by one template.
private struct ChatProbe {
  let template: ChatTemplate
  let variables: JSONObject

  var bos: String { variables["bos_token"]?.string ?? "" }

  /// `nil` where the template refuses.
  func render(_ messages: [(role: String, text: String)], answers: Bool) -> String? {
    let json = JSONValue.array(
      messages.map { ["role": .string($0.role), "content": .string($0.text)] })
    return try? template.render(messages: json, addGenerationPrompt: answers, variables: variables).text
  }
}

extension String {
  /// What stands before and after `marker`, where it stands exactly once.
  fileprivate func split(around marker: String) -> (before: String, after: String)? {
    let parts = split(separator: marker, omittingEmptySubsequences: false)
    return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
  }
}
