import ChatTemplates
import Datasets
import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// A real model against transformers and TRL: see Tests/Goldens/generators/smollm2.py.
///
/// These need SmolLM2-135M-Instruct.Q4_1.gguf (98 MB), which is not committed: `Scripts/obtain-base-model` puts it
/// where these tests look for it, or SWIFTLET_TEST_MODEL names it. Without it they are skipped.
/// SWIFTLET_TEST_ALL_STEPS=1 runs all ten steps of each run instead of three.
@Suite(.enabled(if: SmolLM2.file != nil, "Scripts/obtain-base-model fetches the model"), .serialized)
struct SmolLM2Tests {
  static func open(inFloat32: Bool = false) throws -> CausalLM {
    try CausalLM(opening: #require(SmolLM2.file), inFloat32: inFloat32)
  }

  @Test func promptsAndLossesEqualTransformers() throws {
    let golden = try golden("smollm2/forward.json")
    let model = try Self.open()
    for prompt in try #require(golden["prompts"]?.array) {
      let ids: [Int32]
      if let messages = prompt["prompt"], messages.array != nil {
        ids = try model.prompt(Message.list(messages))
      } else {
        ids = model.tokenizer.encode(prompt["text"]?.string ?? "", addSpecialTokens: false)
      }
      #expect(ids == prompt["ids"]?.array?.compactMap { $0.integer.map(Int32.init) })
      let transformer = model.transformer
      let tape = Tape(on: transformer.backend, isRecording: false)
      let hidden = transformer.hiddenStates(TokenBatch([ids]), on: tape).value
      let logits = transformer.backend.floats(transformer.logits(hidden))
      let width = transformer.configuration.vocabularySize
      for (position, samples) in prompt["logits"]?.object?.members ?? [] {
        let row = Array(logits[try #require(Int(position)) * width..<(Int(position) ?? 0) * width + width])
        for (ids, values) in [("top_ids", "top"), ("ids", "values")] {
          let ours = try #require(samples[ids]?.array).compactMap { $0.integer.map { Double(row[$0]) } }
          let theirs = try #require(samples[values]?.doubles)
          let difference = zip(ours, theirs).map { ($0 - $1) * ($0 - $1) }.reduce(0, +)
          let norm = theirs.reduce(0) { $0 + $1 * $1 }
          #expect(ours.count == theirs.count && (difference / norm).squareRoot() < 1e-4, "position \(position), \(ids)")
        }
        let norm = row.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(relativeError(norm, samples["l2"]?.double ?? 0) < 1e-5)
      }
      let expected = try #require(prompt["greedy"]?["ids"]?.array).compactMap { $0.integer.map(Int32.init) }
      let generation = transformer.generate(ids, maxNewTokens: expected.count, stopTokens: [])
      #expect(generation.ids == expected)
      #expect(expected.count == 48)
    }
    for text in try #require(golden["texts"]?.array) {
      let ids = model.tokenizer.encode(text["text"]?.string ?? "", addSpecialTokens: false)
      #expect(ids == text["ids"]?.array?.compactMap { $0.integer.map(Int32.init) })
      let tape = Tape(on: model.transformer.backend, isRecording: false)
      let hidden = model.transformer.hiddenStates(TokenBatch([ids]), on: tape)
      let sums = tape.linearCrossEntropy(
        hidden, head: model.transformer.head, targets: Array(ids.dropFirst()) + [TokenBatch.ignoredLabel],
        gradientScale: 1)
      #expect(relativeError(sums.loss / Double(sums.count), text["loss"]?.double ?? 0) < 1e-5)
    }
  }

  @Test(arguments: [
    "lora_prompt_completion", "lora_messages", "lora_chat_prompt_completion", "full_prompt_completion",
  ])
  func runEqualsTRL(_ name: String) throws {
    let reference = try golden("smollm2/\(name).json")
    let isFull = reference["lora"]?.object == nil
    let model = try Self.open(inFloat32: isFull)
    let rows = try #require(reference["rows"]?.array).compactMap(\.object)
    let set = try Preparation(RowTokenizer(model.tokenizer)).prepare(InMemoryRows(rows)).set
    for (index, row) in (reference["tokenized"]?.array ?? []).enumerated() {
      let example = try #require(set.example(index))
      #expect(example.ids.map(Double.init) == row["input_ids"]?.doubles)
      #expect(example.labels.map(Double.init) == row["labels"]?.doubles)
    }
    let trainer = try Trainer(
      model, adapter: isFull ? nil : Self.adapter(reference, on: model),
      configuration: TrainingGoldenTests.arguments(reference), trainingSet: set)
    let runsAll = SmolLM2.environment["SWIFTLET_TEST_ALL_STEPS"] != nil
    if !runsAll { trainer.callbacks = [Kill(after: 3)] }
    try trainer.train()
    #expect(trainer.state.logHistory.count == (runsAll ? 10 : 3))
    for (log, step) in zip(trainer.state.logHistory, reference["steps"]?.array ?? []) {
      for (key, tolerance) in [("loss", 1e-4), ("grad_norm", 1e-4), ("learning_rate", 1e-8)] {
        let error = relativeError(try #require(log[key]?.double), try #require(step[key]?.double))
        #expect(error < tolerance, "\(key) of step \(log["step"]?.integer ?? 0)")
      }
      #expect(log["num_tokens"]?.double == step["num_tokens"]?.double)
    }
    // For gradients near zero, the sign of AdamW's step depends on rounding.
    if runsAll { try TrainingGoldenTests.check(trainer, reference["trained"], tolerance: 2e-4) }
  }

  /// The reference's initial adapter, computed by the same formula.
  static func adapter(_ reference: JSONValue, on model: CausalLM) throws -> Adapter {
    var configuration = LoRAConfiguration()
    configuration.rank = try #require(reference["lora"]?["r"]?.integer)
    configuration.alpha = try #require(reference["lora"]?["lora_alpha"]?.double)
    configuration.targetModules = .allLinear
    let adapter = try Adapter(configuration, on: model.transformer, seed: 0)
    for parameter in adapter.parameters {
      let scale = reference["initial_adapter"]?[parameter.name.contains("lora_A") ? "scale_A" : "scale_B"]?.double
      let values = Formula.values(parameter.name, count: parameter.value.count, scale: try #require(scale))
      parameter.value = model.transformer.backend.tensor(values, parameter.value.shape)
    }
    return adapter
  }
}
