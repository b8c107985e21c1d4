import ChatTemplates
import Checkpoints
import Foundation
import OrderedJSON
import Tensors

/// How far a merged model's logits lie from those of base and adapter.
public struct MergeCheck: Sendable {
  /// The largest change of a logit.
  public let largest: Float
  /// The mean change.
  public let mean: Double
  /// At how many positions of how many another token is the most likely.
  public let changedChoices: (count: Int, of: Int)

  /// Texts of the kinds that models see, in two languages.
  private static let samples = [
    "What is the capital of France, and what is it known for?",
    "\u{8BF7}\u{7528}\u{4E00}\u{53E5}\u{8BDD}\u{4ECB}\u{7ECD}\u{4F60}\u{81EA}\u{5DF1}\u{3002}",
    "Write a Python function that adds two numbers.", "Once upon a time there was a small boat that",
  ]

  /// The sample prompts as ids of `model`: through its chat template, where it has one that takes them.
  static func prompts(for model: CausalLM) -> [[Int32]] {
    let longest = model.transformer.configuration.contextLength
    let prompts = samples.map { text -> [Int32] in
      let messages = [Message.user(text)]
      let ids = (try? model.prompt(messages)) ?? []
      return ids.isEmpty || ids.count > longest ? model.tokenizer.encode(text) : ids
    }
    return prompts.map { Array($0.prefix(longest)) }.filter { !$0.isEmpty }
  }

  /// The logits of all positions of the sample prompts.
  public static func logits(of model: CausalLM) -> Tensor {
    logits(of: model.transformer, prompts(for: model))
  }

  static func logits(of transformer: Transformer, _ prompts: [[Int32]]) -> Tensor {
    let tape = Tape(on: transformer.backend, isRecording: false)
    return transformer.logits(transformer.hiddenStates(TokenBatch(prompts), on: tape).value)
  }

  /// Opens the merged model in `folder` and compares its logits with `logits`, those of base and adapter.
  /// - Throws: what opening the model does.
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
      return Self.best(before[range]) != Self.best(after[range])
    }
    changedChoices = (changed, rows)
  }

  private static func best(_ row: ArraySlice<Float>) -> Int? {
    row.enumerated().max { $0.element < $1.element }?.offset
  }
}
