import Datasets
import Essentials
import Models
import OrderedJSON
import Tensors
import Training

/// The loss of a model on rows, and the log-probability of each token.
public struct Evaluation: Sendable {
  /// The mean negative log-likelihood per predicted token, in nats.
  public var loss: Double
  /// The exponential of the loss.
  public var perplexity: Double { exp(loss) }
  /// The number of predicted tokens.
  public var tokens: Int
  /// For each row, its token IDs and the natural logarithm of the probability of each token after the first; `nil` for
  /// tokens that the loss mask excludes. Empty unless requested.
  public var rows: [(ids: [Int32], logProbabilities: [Float?])]

  /// Evaluates a model on rows in any form that training accepts.
  ///
  /// - Parameters:
  ///   - model: the model, with its adapter if it has one.
  ///   - source: the rows.
  ///   - options: maximum length and loss mask, as in training.
  ///   - batchSize: rows per batch. The result does not depend on it.
  ///   - logProbabilities: whether to fill `rows`.
  ///   - progress: called with the number of rows done and of all rows.
  /// - Throws: `SwiftletError` for rows that cannot be used, or token IDs that the model does not have.
  public init(
    _ model: CausalLM, rows source: any RowSource, options: PreparationOptions, batchSize: Int = 8,
    logProbabilities: Bool = false, progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    let tokenizer = try RowTokenizer(
      model.tokenizer, renderer: model.chatRenderer, eosToken: model.endOfSequence?.text,
      marksAssistant: options.assistantOnlyLoss)
    try self.init(
      model, rows: source, tokenizer: tokenizer, options: options, batchSize: batchSize,
      logProbabilities: logProbabilities, progress: progress)
  }

  /// Evaluates a model on rows that `tokenizer` encodes.
  package init(
    _ model: CausalLM, rows source: any RowSource, tokenizer: RowTokenizer, options: PreparationOptions, batchSize: Int,
    logProbabilities: Bool, progress: (Int, Int) -> Void
  ) throws {
    try model.checkGenerates()
    let (set, _) = try Preparation(tokenizer, options: options).prepare(source)
    try Trainer.check(set, model)
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
    // What is read from a device that fails is zero.
    try model.transformer.backend.check()
  }

  /// The result as `swiftlet eval --json` prints it. `rows` is present only if log-probabilities were requested.
  public var json: JSONValue {
    let list = rows.map { row -> JSONValue in
      let logarithms = row.logProbabilities.map { value -> JSONValue in value.map { .number(Double($0)) } ?? .null }
      return ["ids": .array(row.ids.map { .integer(Int($0)) }), "logprobs": .array(logarithms)]
    }
    var object = JSONObject([
      ("loss", .number(loss)), ("perplexity", .number(perplexity)), ("tokens", .integer(tokens)),
    ])
    if !rows.isEmpty { object["rows"] = .array(list) }
    return .object(object)
  }
}
