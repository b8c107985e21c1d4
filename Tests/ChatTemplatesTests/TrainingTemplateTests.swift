import ChatTemplates
import Diagnostics
import Foundation
import OrderedJSON
import Testing

@Suite("Training templates")
struct TrainingTemplateTests {
  private static let folder = Goldens.folder
  private static let variables: JSONObject = ["bos_token": "<bos>", "eos_token": "<eos>"]

  /// Some templates write the current date. The goldens have that of the day they were made.
  private static let dateOfGoldens = "2026-11-28"
  private static let today: String = {
    let date = Calendar.current.dateComponents([.year, .month, .day], from: Date())
    func padded(_ number: Int?) -> String { (number ?? 0) < 10 ? "0\(number ?? 0)" : "\(number ?? 0)" }
    return "\(date.year ?? 0)-\(padded(date.month))-\(padded(date.day))"
  }()

  private func training(_ source: String) throws(SwiftletError) -> ChatRenderer {
    try ChatRenderer(sources: ["default": source], variables: Self.variables).training()
  }

  /// The text and the assistant's spans of every family that TRL has a training template for.
  @Test("The same text and spans as TRL's") func asTRL() throws {
    let goldens = try JSONValue(parsing: Data(contentsOf: Self.folder.appending(path: "training_goldens.json")))
    let results = try #require(goldens["results"]?.object)
    #expect(results.count == 31)
    var compared = 0
    for (file, expected) in results.members {
      let source = try String(contentsOf: Self.folder.appending(path: "training/\(file)"), encoding: .utf8)
      let renderer = try training(source)
      #expect(renderer.replacement != nil, "\(file)")
      for (name, conversation) in goldens["conversations"]?.object?.members ?? [] {
        let messages = try Message.list(conversation["messages"] ?? [])
        let tools = conversation["tools"].flatMap { $0.isNull ? nil : $0 }
        let rendering = try? renderer.render(Conversation(messages, tools: tools))
        guard let golden = expected[name]?["text"]?.string else { continue }
        let text = golden.replacing("Current date: \(Self.dateOfGoldens)", with: "Current date: \(Self.today)")
        let spans = expected[name]?["spans"]?.array?.map { ($0[0]?.integer ?? 0)..<($0[1]?.integer ?? 0) }
        #expect(rendering?.text == text, "\(file), \(name)")
        #expect(rendering?.generationSpans == spans, "\(file), \(name)")
        compared += 1
      }
    }
    #expect(compared > 250)
  }

  /// A reworded Llama 3 template.
  private static let llama3 = """
    {% for message in messages %}{% set turn = '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' %}\
    {% if loop.first %}{% set turn = bos_token + turn %}{% endif %}{{ turn + message.content|trim + '<|eot_id|>' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}
    """

  private func originals() throws -> [(name: String, source: String)] {
    let goldens = try Goldens.committed()
    let known = ["smollm2.jinja", "qwen2.5.jinja", "phi-3-mini.jinja", "phi-3.5.jinja"]
    return goldens.templates.filter { known.contains($0.name) } + [("llama3", Self.llama3)]
  }

  @Test("Families without reasoning render as the original does") func sameText() throws {
    let conversations = try Goldens.committed().conversations
    for (name, source) in try originals() {
      // A comment makes the template differ from the one that TRL knows, but not what it renders.
      for source in [source, "{# reworded #}" + source] {
        let original = try ChatTemplate(source)
        let renderer = try training(source)
        let variant = try #require(renderer.defaultTemplate)
        #expect(variant.marksGeneration && renderer.replacement?.keepsReasoning == false)
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
  }

  @Test("The marked text is the answer and its end of turn") func spans() throws {
    let messages: [Message] = [.system("係"), .user("u"), .assistant("一"), .user("v"), .assistant("two")]
    let marked = [
      "smollm2.jinja": ["一<|im_end|>\n", "two<|im_end|>\n"],
      "qwen2.5.jinja": ["\n一<|im_end|>\n", "\ntwo<|im_end|>\n"],
      "phi-3-mini.jinja": ["一<|end|>\n", "two<|end|>\n", "<eos>"],
      "llama3": ["一<|eot_id|>", "two<|eot_id|>"],
    ]
    for (name, source) in try originals() {
      guard let expected = marked[name] else { continue }
      let rendering = try training(source).render(Conversation(messages))
      let bytes = Array(rendering.text.utf8)
      #expect(rendering.generationSpans.map { String(decoding: bytes[$0], as: UTF8.self) } == expected, "\(name)")
    }
  }

  @Test("A reworded Qwen3 template trains on the reasoning of every turn") func rewordedQwen3() throws {
    let source = try #require(try Goldens.committed().templates.first { $0.name == "qwen3.jinja" }?.source)
    let reworded = source.replacing(
      "{%- if loop.index0 > ns.last_query_index %}", with: "{%- if ns.last_query_index < loop.index0 %}")
    #expect(reworded != source)
    let messages: [Message] = [.user("u"), .assistant("a", reasoning: "r"), .user("v"), .assistant("b")]
    let renderings = try [source, reworded].map { try training($0).render(Conversation(messages)) }
    #expect(renderings[0].text.contains("<think>\nr\n</think>\n\na"))
    #expect(renderings[0] == renderings[1])
    #expect(try training(reworded).replacement?.description.contains("reasoning of every assistant turn") == true)
  }

  @Test("Templates with generation blocks are kept, unknown ones are rejected") func others() throws {
    let marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    let renderer = try training(marked)
    #expect(renderer.replacement == nil && renderer.defaultTemplate?.source == marked)
    #expect(throws: SwiftletError.self) { try training("{% for m in messages %}[{{ m.content }}]{% endfor %}") }
    #expect(throws: SwiftletError.self) { try training("{% broken") }
  }
}
