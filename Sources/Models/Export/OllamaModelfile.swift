import Diagnostics
import Checkpoints
import Foundation
import Tokenizers

/// Ollama's description of a model: where its weights are, how turns are written, where an answer ends.
/// Format: https://github.com/ollama/ollama/blob/main/docs/modelfile.md
public struct OllamaModelfile: Sendable {
  /// The lines of the file.
  public let text: String

  /// The description of `model`, whose weights stand in `file` beside it.
  public init(_ model: CausalLM, file: String) {
    var lines = ["FROM ./\(file)"]
    let turns = model.chatTemplate.flatMap { ChatTurns($0, variables: model.templateVariables()) }
    if let turns, let template = Self.template(turns, addsBOS: model.addsBOS) {
      lines.append("TEMPLATE \"\"\"\(template)\"\"\"")
      if let system = turns.defaultSystem, !system.isEmpty, !system.contains("\"\"\"") {
        lines.append("SYSTEM \"\"\"\(system)\"\"\"")
      }
    } else if model.chatTemplate != nil {
      lines.append("# The chat template does more than Ollama's templates can say; the GGUF file carries it.")
    }
    for stop in model.stopTexts { lines.append("PARAMETER stop \(Self.quoted(stop))") }
    text = lines.joined(separator: "\n") + "\n"
  }

  /// Writes the file.
  /// - Throws: `SwiftletError` if it cannot be written.
  public func write(to url: URL) throws(SwiftletError) { try AtomicFile.write(text, to: url) }

  private static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }

  /// The turns in the language of Go's `text/template`, with Ollama's variables. An answer that a conversation ends with
  /// is left open, to be continued.
  package static func template(_ turns: ChatTurns, addsBOS: Bool) -> String? {
    let content = "{{ .Content }}"
    var user = content
    var system = ""
    var start = addsBOS ? "" : literal(turns.start)
    switch turns.system {
    case .turn(let turn):
      if turns.defaultSystem == "" { start += "{{ if not .System }}\(literal(turn.before + turn.after)){{ end }}" }
      system = "{{ if eq .Role \"system\" }}\(literal(turn.before))\(content)\(literal(turn.after)){{ end }}"
    case .beforeUser(let separator):
      user = "{{ if and $.System (eq $i 1) }}{{ $.System }}\(literal(separator)){{ end }}\(content)"
    case .none: break
    }
    // Ollama puts BOS before a prompt where the model's file says so.
    let text =
      start + "{{ range $i, $_ := .Messages }}"
      + "{{ $last := eq (len (slice $.Messages $i)) 1 }}\(system)"
      + "{{ if eq .Role \"user\" }}\(literal(turns.user.before))\(user)\(literal(turns.user.after)){{ end }}"
      + "{{ if eq .Role \"assistant\" }}\(literal(turns.assistant.before))\(content)"
      + "{{ if not $last }}\(literal(turns.assistant.after)){{ end }}"
      + "{{ else if $last }}\(literal(turns.answer)){{ end }}{{ end }}"
    return text.contains("\"\"\"") ? nil : text
  }

  /// Text that a template writes as it stands.
  private static func literal(_ text: String) -> String {
    text.replacing("{{", with: "{{ \"{{\" }}")
  }
}

extension CausalLM {
  /// Whether texts begin with a token of the tokenizer's own.
  fileprivate var addsBOS: Bool {
    tokenizer.encode("").first.map { $0 == tokenizer.specialTokens.bos?.id } ?? false
  }

  /// The texts that end an answer.
  fileprivate var stopTexts: [String] { stopTokens.sorted().compactMap { tokenizer.token($0) } }
}
