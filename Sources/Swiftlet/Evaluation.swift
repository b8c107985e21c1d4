import Datasets
import Foundation
import Models
import OrderedJSON
import Tensors
import Training

/// The loss of a model on rows, and what it gave each token.
public struct Evaluation: Sendable {
  /// Mean negative log-likelihood a predicted token, in nats.
  public var loss: Double
  /// e to the loss.
  public var perplexity: Double { exp(loss) }
  /// Predicted tokens.
  public var tokens: Int
  /// For each row its ids and, from the second on, the natural logarithm of each one's probability; `nil` where the
  /// label is masked. Empty unless asked for.
  public var rows: [(ids: [Int32], logProbabilities: [Float?])]

  /// Evaluates `model` on rows of any form that training takes.
  ///
  /// - Parameters:
  ///   - model: as it is now, with an adapter or without.
  ///   - source: the rows.
  ///   - options: masks and lengths, as in training.
  ///   - batchSize: rows that go through the model together; the result does not depend on it.
  ///   - logProbabilities: whether `rows` is filled.
  ///   - progress: called with rows done and rows in all.
  /// - Throws: `SwiftletError` for rows that cannot be used, `SwiftletError` for token ids that the model does not have.
  public init(
    _ model: CausalLM, rows source: any RowSource, options: PreparationOptions, batchSize: Int = 8,
    logProbabilities: Bool = false, progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    let tokenizer = try RowTokenizer(
      model.tokenizer, renderer: model.chatRenderer, marksAssistant: options.assistantOnlyLoss)
    let (set, _) = try Preparation(tokenizer, options: options).prepare(source)
    try SFTTrainer.check(set, model)
    rows = []
    var sums = LossSums()
    let size = logProbabilities ? 1 : max(1, batchSize)
    for start in stride(from: 0, to: set.items.count, by: size) {
      let batch = set.batch(start..<min(set.items.count, start + size))
      if logProbabilities {
        var found = [Float?](repeating: nil, count: max(0, batch.ids.count - 1))
        sums += TrainingStep.loss(batch, model.transformer) { positions, losses in
          for (position, loss) in zip(positions, losses) { found[Int(position)] = -loss }
        }
        rows.append((batch.ids, found))
      } else {
        sums += TrainingStep.loss(batch, model.transformer)
      }
      progress(min(set.items.count, start + size), set.items.count)
    }
    tokens = sums.count
    loss = sums.loss / Double(max(1, sums.count))
  }

  /// As `swiftlet eval --json` prints it.
  public var json: JSONValue {
    let list = rows.map { row -> JSONValue in
      let logarithms = row.logProbabilities.map { value -> JSONValue in value.map { .number(Double($0)) } ?? .null }
      return ["ids": .array(row.ids.map { .integer(Int($0)) }), "logprobs": .array(logarithms)]
    }
    return [
      "loss": .number(loss), "perplexity": .number(perplexity), "tokens": .integer(tokens), "rows": .array(list),
    ]
  }
}
