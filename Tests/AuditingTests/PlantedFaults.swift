import Auditing
import Datasets
import OrderedJSON

/// A set of 2,000 generated rows of which a twentieth has a fault of one kind.
struct PlantedFaults {
  private(set) var rows: [Row]
  private(set) var validation: [Row] = []
  /// The rows with the fault.
  private(set) var planted: Set<Int> = []
  /// Rows that a fault is copied from; they belong to the finding but need not be dropped.
  private(set) var originals: Set<Int> = []

  static let count = 2000
  static let plantedCount = 100

  private var generator: RowGenerator
  private let language: Language

  init(_ kind: FindingKind, _ language: Language) {
    self.language = language
    var generator = RowGenerator(seed: 3407)
    rows = (0..<Self.count).map { _ in generator.row(language) }
    validation = (0..<Self.plantedCount).map { _ in generator.row(language) }
    self.generator = generator
    prepare(kind)
    let places = Array((0..<Self.count).shuffled(using: &self.generator.random).prefix(2 * Self.plantedCount))
    for number in 0..<Self.plantedCount {
      planted.insert(places[number])
      plant(kind, at: places[number], number: number, from: places[Self.plantedCount + number])
    }
  }

  private func text(_ index: Int, _ role: Int) -> String { rows[index].text(role) }

  /// Turns clean rows into ones that can have the fault.
  private mutating func prepare(_ kind: FindingKind) {
    for index in rows.indices {
      switch kind {
      case .thinking:
        let thought = generator.sentences(1...2, language)
        rows[index] = RowGenerator.row(text(index, 0), "<think>\n\(thought)\n</think>\n\n\(text(index, 1))")
      case .doubleEncodedArguments where index % 2 == 0:
        rows[index] = toolCall(index, encodings: 1)
      default: break
      }
    }
  }

  /// A row whose answer is a call of a tool.
  private func toolCall(_ index: Int, encodings: Int) -> Row {
    var arguments: JSONValue = ["query": .string(text(index, 1)), "limit": 5]
    for _ in 0..<encodings { arguments = .string(arguments.text()) }
    let call: JSONValue = ["type": "function", "function": ["name": "search", "arguments": arguments]]
    return [
      "messages": [
        ["role": "user", "content": .string(text(index, 0))],
        ["role": "assistant", "content": "", "tool_calls": [call]],
      ]
    ]
  }

  private mutating func plant(_ kind: FindingKind, at index: Int, number: Int, from other: Int) {
    let (prompt, answer) = (text(index, 0), text(index, 1))
    func set(_ prompt: String, _ answer: String) { rows[index] = RowGenerator.row(prompt, answer) }
    switch kind {
    case .unreadable: rows[index] = ["prompt": .string(prompt)]
    case .empty:
      if number % 2 == 0 { set(prompt, [" \n", ""][number / 2 % 2]) } else { set("", answer) }
    case .exactDuplicate:
      originals.insert(other)
      rows[index] = rows[other]
    case .nearDuplicate:
      originals.insert(other)
      set(text(other, 0), changed(text(other, 1)))
    case .conflictingAnswers:
      originals.insert(other)
      set(text(other, 0), answer)
    case .inValidation:
      let row = validation[number]
      set(row.text(0), number % 2 == 0 ? row.text(1) : changed(row.text(1)))
    case .truncated: set(prompt, cut(answer, number))
    case .otherLanguage:
      let foreign: Language = number % 2 == 0 ? (language == .english ? .french : .english) : .japanese
      set(prompt, generator.sentences(2...5, foreign))
    case .otherFormat: set(prompt, formatted(answer, number))
    case .outlierLength:
      let short = language == .chinese ? "对。" : "Yes."
      set(prompt, number % 2 == 0 ? short : generator.sentences(40...60, language))
    case .templateText:
      let stray = ["<|im_end|>\n<|im_start|>user\n", "[INST] ", "</s>", "<|eot_id|>"][number % 4]
      if number % 3 == 0 { set(stray + prompt, answer) } else { set(prompt, answer + stray + answer) }
    case .thinking: set(prompt, thinking(answer, number))
    case .doubleEncodedArguments: rows[index] = generatedCall(number)
    case .knownAlready, .surprising, .gotWorse, .neverLearned, .memorized: break
    }
  }

  /// A row with a call whose arguments are encoded twice: in the format of the API, or as text.
  private mutating func generatedCall(_ number: Int) -> Row {
    let arguments: JSONValue = ["query": .string(generator.sentence(language)), "limit": 5]
    if number % 2 == 0 {
      let call: JSONValue = [
        "type": "function",
        "function": ["name": "search", "arguments": .string(JSONValue.string(arguments.text()).text())],
      ]
      return [
        "messages": [
          ["role": "user", "content": .string(generator.question(language))],
          ["role": "assistant", "content": "", "tool_calls": [call]],
        ]
      ]
    }
    let call: JSONValue = ["name": "search", "arguments": .string(arguments.text())]
    return RowGenerator.row(generator.question(language), "<tool_call>\n\(call.text())\n</tool_call>")
  }

  /// The text with its first word replaced, or its first two characters in Chinese.
  private mutating func changed(_ text: String) -> String {
    if language == .chinese { return generator.pick(["据说", "听说"]) + text.dropFirst(2) }
    return generator.pick(["Apparently,", "Indeed,"]) + " "
      + text.split(separator: " ").dropFirst().joined(separator: " ")
  }

  /// The text up to the middle of a sentence.
  private func cut(_ text: String, _ number: Int) -> String {
    var end = text.count * (50 + number % 40) / 100
    while end > 1, text.prefix(end).last?.isLetter != true { end -= 1 }
    return String(text.prefix(end))
  }

  private func formatted(_ text: String, _ number: Int) -> String {
    switch number % 4 {
    case 0: return JSONValue.object(["answer": .string(text), "score": 3]).text()
    case 1: return "- \(text)\n- \(text.reversed().filter(\.isLetter))\n- \(text.dropFirst(5))"
    case 2: return "```python\nprint(\"\(text)\")\n```"
    default: return "| a | b |\n|---|---|\n| \(text) | 1 |"
    }
  }

  private func thinking(_ answer: String, _ number: Int) -> String {
    let end = answer.range(of: "</think>")
    let rest = end.map { String(answer[$0.upperBound...]) } ?? answer
    switch number % 3 {
    case 0: return rest
    case 1: return "<think>\n\(rest)\n</think>\n\n" + answer
    default: return "<think>\n" + rest
    }
  }
}

extension Row {
  /// The content of a message.
  func text(_ message: Int) -> String { self["messages"]?[message]?["content"]?.string ?? "" }
}
