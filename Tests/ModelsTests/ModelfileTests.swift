import ChatTemplates
import Foundation
import Models
import OrderedJSON
import Testing
import Tokenizers

/// The turns found in chat templates, and Ollama's Modelfile.
@Suite struct ModelfileTests {
  private static let generation = "{% if add_generation_prompt %}"

  private static let chatML = ChatTurns.Turn(before: "<|im_start|>user\n", after: "<|im_end|>\n")

  private static func turns(_ template: String, bos: String = "<s>") throws -> ChatTurns? {
    ChatTurns(
      try ChatTemplate(template), variables: JSONObject([("bos_token", .string(bos)), ("eos_token", "</s>")]))
  }

  @Test func chatMLWithADefaultSystemMessage() throws {
    let loop =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
      + "\(Self.generation)<|im_start|>assistant\n{% endif %}"
    let plain = try #require(try Self.turns(loop, bos: "<|im_start|>"))
    #expect(plain.start == "" && plain.defaultSystem == nil && plain.user == Self.chatML)
    #expect(plain.assistant == ChatTurns.Turn(before: "<|im_start|>assistant\n", after: "<|im_end|>\n"))
    #expect(plain.system == .turn(.init(before: "<|im_start|>system\n", after: "<|im_end|>\n")))
    let named = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are {it}.<|im_end|>\n{% endif %}" + loop
    #expect(try Self.turns(named, bos: "<|im_start|>")?.defaultSystem == "You are {it}.")
    #expect(try Self.turns(named)?.system == plain.system)
  }

  @Test func llama3() throws {
    let header = "<|start_header_id|>"
    let found = try #require(
      try Self.turns(
        "{{ bos_token }}{% for m in messages %}{{ '\(header)' + m.role + '<|end_header_id|>\n\n' + m.content | trim + "
          + "'<|eot_id|>' }}{% endfor %}\(Self.generation){{ '\(header)assistant<|end_header_id|>\n\n' }}{% endif %}",
        bos: "<|begin_of_text|>"))
    #expect(found.start == "<|begin_of_text|>")
    #expect(found.user == .init(before: "\(header)user<|end_header_id|>\n\n", after: "<|eot_id|>"))
  }

  @Test func systemMessagesInsideTheFirstTurn() throws {
    let found = try #require(
      try Self.turns(
        "{{ bos_token }}{% set ns = namespace(first='') %}{% for m in messages %}{% if m.role == 'system' %}"
          + "{% set ns.first = m.content + '\n\n' %}{% else %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' "
          + "else m.role) + '\n' + ns.first + m.content + '<end_of_turn>\n' }}{% set ns.first = '' %}{% endif %}"
          + "{% endfor %}\(Self.generation)<start_of_turn>model\n{% endif %}", bos: "<bos>"))
    #expect(found.system == .beforeUser(separator: "\n\n") && found.start == "<bos>")
    #expect(found.assistant == .init(before: "<start_of_turn>model\n", after: "<end_of_turn>\n"))
    let template = try #require(OllamaModelfile.template(found, addsBOS: true))
    #expect(template.contains("{{ if and $.System (eq $i 1) }}{{ $.System }}\n\n{{ end }}{{ .Content }}"))
    #expect(!template.contains("<bos>"))
    #expect(OllamaModelfile.template(found, addsBOS: false)?.hasPrefix("<bos>{{ range") == true)
  }

  @Test func templatesWithoutSystemMessages() throws {
    let found = try #require(
      try Self.turns(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
          + "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% else %}{{ raise_exception('no') }}{% endif %}"
          + "{% endfor %}"))
    #expect(found.system == .none && found.user == .init(before: "[INST] ", after: " [/INST]"))
    #expect(found.assistant == .init(before: " ", after: "</s>") && found.generationPrompt == "")
  }

  /// Phi-3's template ends a conversation with EOS; Qwen3's and DeepSeek's start a new answer differently from past
  /// ones.
  @Test func finalTurnsThatDiffer() throws {
    let found = try #require(
      try Self.turns(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
          + "\(Self.generation)<|assistant|>\n<think>\n{% else %}{{ eos_token }}{% endif %}"))
    #expect(found.system == .turn(.init(before: "<|system|>\n", after: "<|end|>\n")))
    #expect(found.generationPrompt.hasSuffix("<|assistant|>\n<think>\n") && !found.assistant.before.contains("<think>"))
    let template = try #require(OllamaModelfile.template(found, addsBOS: true))
    #expect(template.hasSuffix("<|assistant|>\n<think>\n{{ end }}{{ end }}") && !template.contains("</s>"))
  }

  /// Llama 3.1 writes a system turn even if it is empty.
  @Test func systemTurnsThatAreAlwaysPresent() throws {
    let found = try #require(
      try Self.turns(
        "{{ bos_token }}{% set has = messages[0].role == 'system' %}[S]Date: 1{{ messages[0].content if has }}[/S]"
          + "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"
          + "\(Self.generation)[assistant]{% endif %}"))
    #expect(found.defaultSystem == "" && found.system == .turn(.init(before: "[S]Date: 1", after: "[/S]")))
    let template = try #require(OllamaModelfile.template(found, addsBOS: true))
    #expect(template.hasPrefix("{{ if not .System }}[S]Date: 1[/S]{{ end }}{{ range"))
    #expect(
      try Self.turns("{{ strftime_now('%Y') }}{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}")
        == nil)
  }

  @Test func templatesThatDoMoreAreLeftAlone() throws {
    // The last user turn is rendered differently from the others.
    let last = "{% for m in messages %}<{{ m.role }}{{ ' last' if loop.last }}>{{ m.content }}</>{% endfor %}"
    #expect(try Self.turns(last) == nil)
    let counted = "{% for m in messages %}<{{ m.role }} {{ loop.index }}>{{ m.content }}</>{% endfor %}"
    #expect(try Self.turns(counted) == nil)
    #expect(try Self.turns("{{ raise_exception('never') }}") == nil)
  }

  @Test func theFileOfAModel() throws {
    let tokenizer = try Tokenizer(directory: Goldens.folder.appendingPathComponent("models/tokenizer"))
    let files = try ModelFiles(opening: Goldens.folder.appendingPathComponent("models/llama"))
    let model = try CausalLM(files, tokenizer: tokenizer)
    let lines = OllamaModelfile(model, file: "tiny.gguf").text
    #expect(lines.hasPrefix("FROM ./tiny.gguf\nTEMPLATE \"\"\"{{ range $i, $_ := .Messages }}"))
    #expect(lines.hasSuffix("\"\"\"\nPARAMETER stop \"<|endoftext|>\"\nPARAMETER stop \"<|im_end|>\"\n"))
    #expect(lines.contains("<|im_start|>user\n{{ .Content }}<|im_end|>\n"))
    let odd = try CausalLM(files, tokenizer: tokenizer, chatTemplate: "{{ messages | length }}")
    #expect(
      OllamaModelfile(odd, file: "a.gguf").text.contains("\n# Ollama's templates can't express this chat template"))
    let braces = try CausalLM(
      files, tokenizer: tokenizer,
      chatTemplate: "{% for m in messages %}{{ '{{' + m.role + '}}' + m.content + '\\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '{{assistant}}' }}{% endif %}")
    #expect(OllamaModelfile(braces, file: "a.gguf").text.contains("{{ \"{{\" }}user}}{{ .Content }}\n"))
  }
}
