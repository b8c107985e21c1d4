import ChatTemplates
import Checkpoints
import Essentials
import OrderedJSON
import Tensors

/// How much a merged model's logits differ from those of its base model with the adapter.
public struct MergeCheck: Sendable {
  /// The largest absolute difference of a logit.
  public let largest: Float
  /// The mean absolute difference of the logits.
  public let mean: Double
  /// The number of positions at which the most likely token differs, and the number of positions.
  public let changedChoices: (count: Int, of: Int)

  /// Prompts in English, Chinese and code.
  private static let samples = [
    "What is the capital of France, and what is it known for?",
    "\u{8BF7}\u{7528}\u{4E00}\u{53E5}\u{8BDD}\u{4ECB}\u{7ECD}\u{4F60}\u{81EA}\u{5DF1}\u{3002}",
    "Write a Python function that adds two numbers.", "Once upon a time there was a small boat that",
  ]

  /// The sample prompts as token ids, rendered by the chat template if there is one that accepts them.
  package static func prompts(for model: CausalLM) -> [[Int32]] {
    let longest = model.transformer.configuration.contextLength
    let prompts = samples.map { text -> [Int32] in
      let messages = [Message.user(text)]
      let ids = (try? model.prompt(messages)) ?? []
      return ids.isEmpty || ids.count > longest ? model.tokenizer.encode(text) : ids
    }
    return prompts.map { Array($0.prefix(longest)) }.filter { !$0.isEmpty }
  }

  /// The logits at all positions of the sample prompts: `[positions, vocabulary]`.
  public static func logits(of model: CausalLM) -> Tensor {
    logits(of: model.transformer, prompts(for: model))
  }

  static func logits(of transformer: Transformer, _ prompts: [[Int32]]) -> Tensor {
    let tape = Tape(on: transformer.backend, isRecording: false)
    return transformer.logits(transformer.hiddenStates(TokenBatch(prompts), on: tape).value)
  }

  /// Opens the merged model in `folder` and compares its logits with those of the base model with the adapter.
  /// - Throws: `SwiftletError` if the merged model can't be opened.
  public init(_ logits: Tensor, of model: CausalLM, mergedIn folder: URL) throws {
    let merged = try Transformer(ModelFiles(opening: folder), on: model.transformer.backend)
    let backend = model.transformer.backend
    let before = backend.floats(logits)
    let after = backend.floats(Self.logits(of: merged, Self.prompts(for: model)))
    var largest: Float = 0
    var sum = 0.0
    for (a, b) in zip(before, after) {
      largest = max(largest, abs(a - b))
      sum += Double(abs(a - b))
    }
    self.largest = largest
    mean = sum / Double(max(1, before.count))
    let columns = max(1, logits.columns)
    let rows = before.count / columns
    let changed = (0..<rows).count { row in
      let range = row * columns..<(row + 1) * columns
      return Self.argmax(before[range]) != Self.argmax(after[range])
    }
    changedChoices = (changed, rows)
  }

  private static func argmax(_ row: ArraySlice<Float>) -> Int? {
    row.enumerated().max { $0.element < $1.element }?.offset
  }
}
