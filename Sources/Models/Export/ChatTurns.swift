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
  /// What asks for an answer: mostly what an answer in the conversation begins with.
  package let answer: String
  /// The system message where a conversation has none; empty where its turn is written all the same.
  package let defaultSystem: String?

  /// The turns of a template; `nil` for one that does more than to put words around texts.
  package init?(_ template: ChatTemplate, variables: JSONObject) {
    let probe = ChatProbe(template: template, variables: variables)
    // A date in the text would be that of the export for ever.
    guard !template.source.contains("strftime_now"),
      let talk = probe.render([("user", "Qv1"), ("assistant", "Av1"), ("user", "Qv2")], answers: true),
      let (opening, rest) = talk.split(around: "Qv1"), let (toAnswer, again) = rest.split(around: "Av1"),
      let (toQuestion, asking) = again.split(around: "Qv2")
    else { return nil }
    let asked = probe.render([("user", "Qv1")], answers: false)?.split(around: "Qv1")?.after ?? ""
    let answered = probe.render([("user", "Qv1"), ("assistant", "Av1")], answers: false)?.split(around: "Av1")?.after
    // Where one turn ends and the next begins does not change the text; how a conversation ends mostly tells.
    let ending = toAnswer.hasPrefix(asked) && asking.hasPrefix(asked) ? asked : ""
    let common = String(zip(opening.reversed(), toQuestion.reversed()).prefix { $0 == $1 }.map(\.0).reversed())
    var beginnings = [common]
    if let answered, toQuestion.hasPrefix(answered) {
      beginnings.insert(String(toQuestion.dropFirst(answered.count)), at: 0)
    }
    let instructed = probe.render([("system", "Sv1"), ("user", "Qv1")], answers: true)?.split(around: "Sv1")
    for beginning in beginnings where opening.hasSuffix(beginning) && toQuestion.hasSuffix(beginning) {
      let turns = ChatTurns(
        user: Turn(before: beginning, after: ending),
        assistant: Turn(
          before: String(toAnswer.dropFirst(ending.count)), after: String(toQuestion.dropLast(beginning.count))),
        answer: String(asking.dropFirst(ending.count)), opening: String(opening.dropLast(beginning.count)),
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
  ///   - opening: what comes before the first user's turn.
  ///   - instructed: the same where there is a system message: before it, and between it and the user's text.
  private init(
    user: Turn, assistant: Turn, answer: String, opening: String, instructed: (before: String, between: String)?,
    bos: String
  ) {
    self.user = user
    self.assistant = assistant
    self.answer = answer
    if let (before, between) = instructed, between.hasSuffix(user.before) {
      // Where every turn begins with BOS, as SmolLM2's do, it belongs to the turns.
      let bos = user.before.hasPrefix(bos) ? "" : bos
      let after = String(between.dropLast(user.before.count))
      (start, system, defaultSystem) = Self.withSystemTurn(opening, before, after, bos)
    } else if let (before, between) = instructed, before == opening + user.before {
      (start, system, defaultSystem) = (opening, .beforeUser(separator: between), nil)
    } else {
      (start, system, defaultSystem) = (opening, .none, nil)
    }
  }

  /// The start is what comes before the system's turn: BOS, or nothing.
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

  /// Conversations that the turns must predict.
  private static let conversations: [[(role: String, text: String)]] = [
    [("user", "How are you?\nWell?")],
    [("system", "Be brief: {x}."), ("user", "One"), ("assistant", "Two"), ("user", "Three.")],
    [("user", "A b"), ("assistant", "c"), ("user", "D"), ("assistant", "e"), ("user", "F?")],
  ]

  private func agrees(with probe: ChatProbe) -> Bool {
    for conversation in Self.conversations {
      if system == .none, conversation.first?.role == "system" { continue }
      guard probe.render(conversation, answers: true) == text(of: conversation) else { return false }
    }
    return true
  }

  /// What the template is taken to write of a conversation that ends with a question.
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
    return text + answer
  }
}

/// Renders conversations by one template.
private struct ChatProbe {
  let template: ChatTemplate
  let variables: JSONObject

  var bos: String { variables["bos_token"]?.string ?? "" }

  /// `nil` where the template refuses.
  func render(_ messages: [(role: String, text: String)], answers: Bool) -> String? {
    let messages = messages.map { Message(role: $0.role, content: $0.text) }
    return try? template.render(messages: messages, addGenerationPrompt: answers, variables: variables).text
  }
}

extension String {
  /// What stands before and after `marker`, where it stands exactly once.
  fileprivate func split(around marker: String) -> (before: String, after: String)? {
    let parts = split(separator: marker, omittingEmptySubsequences: false)
    return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
  }
}
