import OrderedJSON

/// A model family that is recognized by what its template renders, not by the template's text.
///
/// Covers templates that were reformatted or rewritten, and ChatML (SmolLM2 and many others), for which TRL has no
/// training template.
struct RecognizedFamily: Sendable {
  let name: String
  /// A template with the behavior of the family's original.
  let template: String
  /// The template with `{% generation %}` blocks to train with: the content, reasoning and tool calls of each assistant
  /// turn and its end-of-turn token, but not the turn's header.
  let trainingTemplate: String
  let keepsReasoning: Bool

  private init(_ name: String, _ template: String, training: String? = nil) {
    self.name = name
    self.template = template
    trainingTemplate = training ?? template
    keepsReasoning = training != nil
  }

  /// The family whose template renders a number of test conversations exactly as `template` does.
  static func matching(_ template: ChatTemplate) -> RecognizedFamily? {
    let expected = probes.map { $0.text(of: template) }
    return all.first { candidate in
      guard let own = try? ChatTemplate(candidate.template) else { return false }
      return zip(probes, expected).allSatisfy { probe, text in
        // Conversations that the original rejects are not compared.
        text.map { $0 == probe.text(of: own) } ?? !probe.mustRender
      }
    }
  }

  /// A conversation that tells families apart.
  private struct Probe {
    let messages: JSONValue
    var tools: JSONValue?
    var addGenerationPrompt = false
    var mustRender = false

    /// The rendered text in bytes; `nil` if the template rejects the conversation.
    func text(of template: ChatTemplate) -> [UInt8]? {
      let variables: JSONObject = ["bos_token": "<bos>", "eos_token": "<eos>"]
      guard let messages = try? Message.list(messages) else { return nil }
      let rendering = try? template.render(
        messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables)
      return rendering.map { Array($0.text.utf8) }
    }
  }

  private static let probes: [Probe] = [
    Probe(messages: [["role": "user", "content": "a"]], addGenerationPrompt: true, mustRender: true),
    Probe(
      messages: [
        ["role": "system", "content": " s\n"], ["role": "user", "content": " u "],
        ["role": "assistant", "content": "\n x \n"], ["role": "user", "content": ""],
        ["role": "assistant", "content": "y"],
      ], mustRender: true),
    Probe(
      messages: [
        ["role": "user", "content": "u"], ["role": "assistant", "content": "<think>\nr\n</think>\n\nx"],
        ["role": "user", "content": "v"], ["role": "assistant", "content": "y", "reasoning_content": "r\n"],
      ], mustRender: true),
    Probe(messages: [["role": "system", "content": ""], ["role": "user", "content": "u"]]),
    Probe(
      messages: [["role": "user", "content": "u"], ["role": "system", "content": "s"]], addGenerationPrompt: true),
    Probe(
      messages: [
        ["role": "system", "content": "s"], ["role": "user", "content": "u"],
        [
          "role": "assistant", "content": "c",
          "tool_calls": [
            ["type": "function", "function": ["name": "f", "arguments": ["k": 1]]],
            ["type": "function", "function": ["name": "g", "arguments": [:]]],
          ],
        ],
        ["role": "tool", "content": "1"], ["role": "tool", "content": "2"], ["role": "assistant", "content": "x"],
      ], tools: [["type": "function", "function": ["name": "f", "description": "<d>"]]]),
    Probe(
      messages: [
        ["role": "user", "content": "u"],
        ["role": "assistant", "content": "", "tool_calls": [["name": "f", "arguments": "{}"]]],
        ["role": "tool", "content": "1"],
      ], tools: [["name": "f"]], addGenerationPrompt: true),
    Probe(
      messages: [
        ["role": "user", "content": "u"], ["role": "assistant", "content": "<think>r</think>x"],
      ]),
    Probe(messages: [["role": "user", "content": "u"], ["role": "tool", "content": ["k": 1]]]),
  ]

  private static let all: [RecognizedFamily] =
    [
      nil, "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "You are a helpful assistant",
      "You are a helpful assistant.", "You are a helpful AI assistant.",
    ].map { RecognizedFamily("ChatML", chatML(system: $0)) }
    + [
      "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "You are a helpful assistant.",
      "Please reason step by step, and put your final answer within \\\\boxed{}.",
    ].map { RecognizedFamily("Qwen2.5", qwen25(system: $0)) }
    + [true, false].map { readsOnlyText in
      RecognizedFamily(
        "Qwen3", qwen3(readsOnlyText: readsOnlyText, keepsReasoning: false),
        training: qwen3(readsOnlyText: readsOnlyText, keepsReasoning: true))
    }
    + [
      RecognizedFamily("Llama 3", llama3), RecognizedFamily("Phi-3", phi3(keepsEmptySystem: true)),
      RecognizedFamily("Phi-3.5", phi3(keepsEmptySystem: false)),
    ]
}
