import ChatTemplates
import Foundation
import OrderedJSON
import Testing

@Suite("Templates that mark what the assistant says")
struct TrainingTemplateTests {
  /// Llama 3's text, written our way.
  private static let llama3 = """
    {% for message in messages %}{% set turn = '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' %}\
    {% if loop.first %}{% set turn = bos_token + turn %}{% endif %}{{ turn + message.content|trim + '<|eot_id|>' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}
    """

  private func originals() throws -> [(name: String, source: String)] {
    let goldens = try Goldens.committed()
    let known = ["smollm2.jinja", "qwen2.5.jinja", "qwen3.jinja", "phi-3-mini.jinja", "phi-3.5.jinja"]
    let found = goldens.templates.filter { known.contains($0.name) } + [("llama3", Self.llama3)]
    return found + (try Goldens.named()?.templates.filter { ChatTemplate.trainingVariant(of: $0.source) != nil } ?? [])
  }

  @Test("The same text as the original, whenever that renders") func sameText() throws {
    let conversations = try Goldens.committed().conversations
    let originals = try originals()
    #expect(originals.count >= 5)
    for (name, source) in originals {
      let original = try ChatTemplate(source)
      let variant = try ChatTemplate(try #require(ChatTemplate.trainingVariant(of: source), "\(name)"))
      #expect(variant.marksGeneration && (!original.marksGeneration || variant.source == source))
      var compared = 0
      for conversation in conversations {
        guard let expected = try? Goldens.render(original, conversation) else { continue }
        let rendering = try? Goldens.render(variant, conversation)
        #expect(rendering?.text == expected.text, "\(name), \(conversation.name)")
        compared += 1
      }
      #expect(compared > 20, "\(name)")
    }
  }

  @Test("What is marked: the answer and the end of its turn") func spans() throws {
    let messages: JSONValue = [
      ["role": "system", "content": "係"], ["role": "user", "content": "u"], ["role": "assistant", "content": "一"],
      ["role": "user", "content": "v"], ["role": "assistant", "content": "two"],
    ]
    let marked = [
      "smollm2.jinja": ["一<|im_end|>\n", "two<|im_end|>\n"],
      "qwen2.5.jinja": ["\n一<|im_end|>\n", "\ntwo<|im_end|>\n"],
      "qwen3.jinja": ["一<|im_end|>\n", "<think>\n\n</think>\n\ntwo<|im_end|>\n"],
      "phi-3-mini.jinja": ["一<|end|>\n", "two<|end|>\n", "<eos>"],
      "llama3": ["一<|eot_id|>", "two<|eot_id|>"],
    ]
    for (name, source) in try originals() {
      guard let expected = marked[name] else { continue }
      let variant = try ChatTemplate(try #require(ChatTemplate.trainingVariant(of: source)))
      let rendering = try variant.render(
        messages: messages, variables: JSONObject([("bos_token", "<bos>"), ("eos_token", "<eos>")]))
      let bytes = Array(rendering.text.utf8)
      #expect(rendering.generationSpans.map { String(decoding: bytes[$0], as: UTF8.self) } == expected, "\(name)")
    }
  }

  @Test("Other families have none") func unknown() {
    #expect(ChatTemplate.trainingVariant(of: "{% for m in messages %}[{{ m.content }}]{% endfor %}") == nil)
    #expect(ChatTemplate.trainingVariant(of: "{% broken") == nil)
  }
}
