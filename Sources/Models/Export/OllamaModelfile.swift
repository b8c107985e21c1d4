import Diagnostics
import Checkpoints
import Essentials
import Tokenizers

/// A Modelfile for Ollama: the model's weights, prompt template and stop tokens. See
/// https://github.com/ollama/ollama/blob/main/docs/modelfile.md
public struct OllamaModelfile: Sendable {
  /// The contents of the file.
  public let text: String

  /// Creates the Modelfile of `model`, whose weights are in `file` in the same folder.
  public init(_ model: CausalLM, file: String) {
    var lines = ["FROM ./\(file)"]
    let turns = model.chatTemplate.flatMap { ChatTurns($0, variables: model.templateVariables()) }
    if let turns, let template = Self.template(turns, addsBOS: model.addsBOS) {
      lines.append("TEMPLATE \"\"\"\(template)\"\"\"")
      if let system = turns.defaultSystem, !system.isEmpty, !system.contains("\"\"\"") {
        lines.append("SYSTEM \"\"\"\(system)\"\"\"")
      }
    } else if model.chatTemplate != nil {
      lines.append("# Ollama's templates can't express this chat template; the GGUF file contains it.")
    }
    for stop in model.stopTexts { lines.append("PARAMETER stop \(Self.quoted(stop))") }
    text = lines.joined(separator: "\n") + "\n"
  }

  /// Writes the file.
  /// - Throws: `SwiftletError` if it can't be written.
  public func write(to url: URL) throws(SwiftletError) { try AtomicFile.write(text, to: url) }

  private static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }

  /// The turns as a Go `text/template` with Ollama's variables. If a conversation ends with an assistant message, its
  /// turn is left open, to be continued.
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
    // Ollama itself adds BOS to a prompt if the GGUF file asks for it.
    let text =
      start + "{{ range $i, $_ := .Messages }}"
      + "{{ $last := eq (len (slice $.Messages $i)) 1 }}\(system)"
      + "{{ if eq .Role \"user\" }}\(literal(turns.user.before))\(user)\(literal(turns.user.after)){{ end }}"
      + "{{ if eq .Role \"assistant\" }}\(literal(turns.assistant.before))\(content)"
      + "{{ if not $last }}\(literal(turns.assistant.after)){{ end }}"
      + "{{ else if $last }}\(literal(turns.generationPrompt)){{ end }}{{ end }}"
    return text.contains("\"\"\"") ? nil : text
  }

  /// Text for the template to output unchanged.
  private static func literal(_ text: String) -> String {
    text.replacing("{{", with: "{{ \"{{\" }}")
  }
}

extension CausalLM {
  /// Whether the tokenizer adds BOS to a text.
  fileprivate var addsBOS: Bool {
    tokenizer.encode("").first.map { $0 == tokenizer.specialTokens.bos?.id } ?? false
  }

  /// The texts of the stop tokens.
  fileprivate var stopTexts: [String] { stopTokens.sorted().compactMap { tokenizer.token($0) } }
}
