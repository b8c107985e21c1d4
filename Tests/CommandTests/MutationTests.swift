import Foundation
import OrderedJSON
import Testing

/// A short version of `Scripts/fuzz`: the command on mutated files of the kinds that it reads. Whatever they contain, it
/// ends without a signal, and a failure is one short printable sentence.
@Suite struct MutationTests {
  /// A kind of file: where it is, and a command that reads it.
  struct Kind: Sendable, CustomTestStringConvertible {
    let file: String
    let line: String
    var isJSON: Bool { file.hasSuffix(".json") || file.hasSuffix(".jsonl") }
    var testDescription: String { "\(file): \(line)" }

    init(_ file: String, _ line: String) {
      self.file = file
      self.line = line
    }
  }

  private static let training =
    "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir out --use_peft --lora_r 2 --save_steps 2"
  private static let generation = "generate --model m --prompt hi --max-new-tokens 2"
  private static let adapted = "\(generation) --adapter out"
  private static let resumed = "\(training) --max_steps 3 --resume_from_checkpoint out/checkpoint-2"
  private static let preview = "preview --model_name_or_path m --dataset_name"
  private static let preferences =
    "dpo --model_name_or_path m --dataset_name pairs.jsonl --output_dir pairs --use_peft --max_steps 1"

  static let kinds = [
    Kind("m/config.json", "inspect m"), Kind("m/model.safetensors", generation),
    Kind("m/tokenizer.json", "tokenize m --text hello"), Kind("m/tokenizer_config.json", "tokenize m --text hello"),
    Kind("m/generation_config.json", generation), Kind("m/chat_template.jinja", generation),
    Kind("model.gguf", "inspect model.gguf"), Kind("rows.jsonl", "\(preview) rows.jsonl"),
    Kind("rows.csv", "\(preview) rows.csv"), Kind("rows.txt", "\(preview) rows.txt"),
    Kind("rows.jsonl", "audit --model_name_or_path m --dataset_name rows.jsonl"), Kind("pairs.jsonl", preferences),
    Kind("recipe.yaml", "preview recipe.yaml"), Kind("messages.json", "render m --messages messages.json"),
    Kind("questions.jsonl", "compare --model m --questions questions.jsonl --max-new-tokens 2"),
    Kind("out/adapter_config.json", adapted), Kind("out/adapter_model.safetensors", adapted),
    Kind("out/training_args.json", "\(training) --max_steps 1"),
    Kind("out/verification.json", "verify out --model m"), Kind("merged.zip", "verify merged.zip"),
    Kind("out/checkpoint-2/trainer_state.json", resumed), Kind("out/checkpoint-2/optimizer.safetensors", resumed),
  ]

  /// The files before they are mutated.
  private static func prepare() async throws -> Workspace {
    let workspace = try Workspace()
    try workspace.write("m/generation_config.json", #"{"eos_token_id": [2, 3], "temperature": 0.7, "top_k": 5}"#)
    try workspace.write(
      "m/chat_template.jinja",
      "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{{ '%05.2f' | format(loop.index) }}\n{% endfor %}"
    )
    try workspace.write("rows.csv", "prompt,completion\nsay 1 ,\"the cat sat\"\nsay 2,no\n")
    try workspace.write("rows.txt", "the cat sat\nhello\n")
    try workspace.write(
      "pairs.jsonl",
      (1...4).map { #"{"prompt": "say \#($0) ", "chosen": "the cat", "rejected": "sat \#($0)"}"# + "\n" }.joined())
    try workspace.write(
      "recipe.yaml",
      "model_name_or_path: m\ndatasets:\n  - {path: rows.jsonl, split: train}\nuse_peft: true\nlearning_rate: 2.0e-4\n")
    try workspace.write(
      "messages.json", #"[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]"#)
    try workspace.write("questions.jsonl", #"{"question": "hi"}"# + "\n" + #"{"prompt": "b"}"# + "\n")
    try FileManager.default.copyItem(
      at: Workspace.goldens.appendingPathComponent("models/phi3/model.gguf"),
      to: workspace.url.appendingPathComponent("model.gguf"))
    #expect(try await workspace.run(line: "\(training) --max_steps 2").status == 0)
    #expect(
      try await workspace.run(line: "merge --model m --adapter out --output merged --zip --no-verify").status == 0)
    return workspace
  }

  private static let original = Task { try await prepare() }

  @Test(arguments: kinds) func aMutatedFileEndsInOneSentence(_ kind: Kind) async throws {
    let workspace = try Workspace(copying: try await Self.original.value)
    let original = try workspace.data(kind.file)
    for seed in 0..<6 {
      var random = Mutations(seed: UInt64(seed))
      let mutant = random.mutate(original, isJSON: kind.isJSON && seed % 3 != 0)
      try workspace.write(kind.file, mutant)
      let outcome = try await workspace.run(line: kind.line)
      let evidence = "\(kind), seed \(seed): \(outcome.errors.suffix(300))"
      #expect(!outcome.wasKilled, "\(evidence)")
      #expect([0, 1, 2].contains(outcome.status), "\(evidence)")
      let unprintable = outcome.errors.unicodeScalars.first { $0.value < 32 && $0 != "\n" || $0.value == 127 }
      #expect(unprintable == nil, "\(evidence)")
      guard outcome.status != 0 else { continue }
      let sentences = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
      // `verify` has a sentence for each problem.
      #expect(sentences.count == 1 || sentences.count > 1 && kind.line.hasPrefix("verify"), "\(evidence)")
      #expect(sentences.allSatisfy { $0.count <= 1400 }, "\(evidence)")
    }
  }
}

/// Damage to files, drawn from a seed: SplitMix64.
private struct Mutations {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  private mutating func next(below bound: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((bits ^ (bits >> 31)) % UInt64(max(1, bound)))
  }

  private static let values: [JSONValue] = [
    -1, 0, .integer(.max), .integer(.min), 1e300, -1.5, "", "\u{1B}[2J", "a\nb", "../../etc/passwd",
    .string(String(repeating: "x", count: 5000)), nil, true, [], [:], [[1, "a", nil]],
  ]

  /// Changes a member of each of a few lines of JSON, or a few bytes of anything.
  mutating func mutate(_ data: Data, isJSON: Bool) -> Data {
    guard isJSON else { return changingBytes(data) }
    if let whole = try? JSONValue(parsing: data) { return Data(changingMember(whole).text().utf8) }
    var lines = String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    let place = next(below: lines.count)
    if let json = try? JSONValue(parsing: lines[place]) { lines[place] = changingMember(json).text() }
    return Data(lines.joined(separator: "\n").utf8)
  }

  private mutating func changingMember(_ json: JSONValue) -> JSONValue {
    let replacement = Self.values[next(below: Self.values.count)]
    switch json {
    case .object(var object) where object.count > 0 && next(below: 8) > 0:
      let key = object.keys[next(below: object.count)]
      if next(below: 8) == 0 {
        object[key] = nil
      } else {
        object[key] = object[key].map { changingMember($0) }
      }
      return .object(object)
    case .array(var elements) where !elements.isEmpty && next(below: 8) > 0:
      let place = next(below: elements.count)
      elements[place] = changingMember(elements[place])
      return .array(elements)
    default: return replacement
    }
  }

  private mutating func changingBytes(_ data: Data) -> Data {
    var bytes = Array(data)
    for _ in 0...next(below: 3) where !bytes.isEmpty {
      let place = next(below: [64, 4096, bytes.count][next(below: 3)]) % bytes.count
      switch next(below: 5) {
      case 0: bytes[place] = UInt8(next(below: 256))
      case 1: bytes.removeSubrange(place..<min(bytes.count, place + 9))
      case 2: bytes.insert(contentsOf: [UInt8](repeating: 0xFF, count: 8), at: place)
      case 3: bytes.removeLast(next(below: bytes.count))
      default: bytes.insert(contentsOf: Array("\u{1B}[2J{{{%[\"".utf8), at: place)
      }
    }
    return Data(bytes)
  }
}
