import Diagnostics
import Foundation
import OrderedJSON
import Testing
import Tokenizers

/// Tokenizer files in which random members have hostile values are read or reported in one short line.
@Suite struct HostileValueTests {
  private static let hostile: [JSONValue] = [
    .integer(-1), .integer(0), .integer(.max), .integer(.min), .integer(1 << 32), .number(1e300), .number(-0.5),
    .bool(true), nil, "", "\u{1B}[2J\n", .string(String(repeating: "a", count: 3000)), [], ["a", 1], [[[]]],
    .object(JSONObject()), ["type": "Sequence"], ["String": ""], ["Regex": "(a+)+$"], ["Regex": "("],
  ]

  private static func count(_ value: JSONValue) -> Int {
    switch value {
    case .array(let elements): elements.reduce(1) { $0 + count($1) }
    case .object(let object): object.members.reduce(1) { $0 + count($1.value) }
    default: 1
    }
  }

  /// `value` with the node at `index`, counted in preorder, replaced by `replacement` or, if `nil`, removed.
  private static func replacing(_ value: JSONValue, _ index: inout Int, _ replacement: JSONValue?) -> JSONValue? {
    let isTarget = index == 0
    index -= 1
    if isTarget { return replacement }
    guard index >= 0 else { return value }
    switch value {
    case .array(let elements): return .array(elements.compactMap { replacing($0, &index, replacement) })
    case .object(let object):
      var members: [(String, JSONValue)] = []
      for member in object.members {
        if let kept = replacing(member.value, &index, replacement) { members.append((member.key, kept)) }
      }
      return .object(JSONObject(members))
    default: return value
    }
  }

  private func expectReadOrReported(_ folder: URL, sourceLocation: SourceLocation = #_sourceLocation) {
    do throws(SwiftletError) {
      let tokenizer = try Tokenizer(directory: folder)
      let ids = tokenizer.encode("the cat  sat 中文 1234 <s>\n")
      #expect(ids.allSatisfy { $0 >= 0 }, sourceLocation: sourceLocation)
      _ = tokenizer.decode(ids)
      _ = try? GGUFVocabulary(tokenizer, size: 10)
    } catch {
      let text = error.description
      #expect(
        text.count < 1400 && !text.unicodeScalars.contains { $0.isTerminalControl }, sourceLocation: sourceLocation)
      #expect(error.location.file != nil, "\(text)", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: ["llama2", "deepseek", "unigram", "qwen", "gpt2", "splits"])
  func tokenizerFiles(name: String) throws {
    let bytes = try Data(contentsOf: GoldenFiles.tinyFolder(name).appendingPathComponent("tokenizer.json"))
    var root = try JSONValue(parsing: bytes)
    // Most members are tokens and merges, so keep only the first of them.
    if var model = root["model"]?.object {
      if let vocabulary = model["vocab"]?.object {
        model["vocab"] = .object(JSONObject(vocabulary.members.prefix(40).map { ($0.key, $0.value) }))
      }
      if model["merges"] != nil { model["merges"] = [] }
      if var object = root.object {
        object["model"] = .object(model)
        root = .object(object)
      }
    }
    var generator = PropertyTests.Generator(state: 11)
    let folder = try TemporaryFolder()
    let count = Self.count(root)
    for _ in 0..<150 {
      var index = Int.random(in: 0..<count, using: &generator)
      let replacement =
        Int.random(in: 0..<5, using: &generator) == 0 ? nil : Self.hostile.randomElement(using: &generator)
      let mutant = Self.replacing(root, &index, replacement) ?? nil
      try folder.write(mutant.text(), to: "tokenizer.json")
      expectReadOrReported(folder.url)
    }
  }

  @Test func companionFiles() throws {
    let companion = JSONValue.object(
      JSONObject([
        ("bos_token", ["content": "<s>"]), ("eos_token", "</s>"), ("pad_token", nil), ("add_bos_token", true),
        ("added_tokens_decoder", ["3": ["content": "<x>", "special": true, "lstrip": false]]),
        ("chat_template", [["name": "default", "template": "x"]]), ("additional_special_tokens", ["<y>"]),
      ]))
    var generator = PropertyTests.Generator(state: 12)
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
      let folder = try TemporaryFolder()
      try folder.write(#"{"model":\#(MalformedFileTests.model)}"#, to: "tokenizer.json")
      for _ in 0..<200 {
        var index = Int.random(in: 0..<Self.count(companion), using: &generator)
        let mutant = Self.replacing(companion, &index, Self.hostile.randomElement(using: &generator)) ?? nil
        try folder.write(mutant.text(), to: file)
        expectReadOrReported(folder.url)
      }
    }
  }

  @Test func ggufVocabularies() throws {
    let tokenizer = try Tokenizer(directory: GoldenFiles.tinyFolder("llama2"))
    let whole = try GGUFVocabulary(tokenizer, size: tokenizer.vocabularySize)
    var generator = PropertyTests.Generator(state: 13)
    let ids: [Int32?] = [nil, -1, 0, .max, .min, 7]
    for _ in 0..<60 {
      var vocabulary = whole
      let index = Int.random(in: 0..<whole.tokens.count, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0:
        vocabulary.tokens[index] =
          ["", "\u{1B}", String(repeating: "▁", count: 900)].randomElement(using: &generator) ?? ""
      case 1: vocabulary.tokenTypes?[index] = [-1, 0, 3, 4, 6, .max].randomElement(using: &generator) ?? 0
      case 2: vocabulary.scores?[index] = [.nan, .infinity, -1e38, 0].randomElement(using: &generator) ?? 0
      case 3: (vocabulary.bosID, vocabulary.addBOS) = (ids.randomElement(using: &generator) ?? nil, true)
      case 4: vocabulary.unkID = ids.randomElement(using: &generator) ?? nil
      default: vocabulary.tokens.removeLast(index)
      }
      do throws(SwiftletError) {
        _ = try Tokenizer(gguf: vocabulary).encode("the cat 中 1")
      } catch {
        #expect(!error.description.unicodeScalars.contains { $0.isTerminalControl })
      }
    }
  }
}
