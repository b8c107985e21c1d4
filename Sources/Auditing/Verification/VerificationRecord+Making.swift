import Checkpoints
import Datasets
import Models
import Tensors
import Training

extension VerificationRecord {
  /// The most rows to record.
  private static let rowCount = 20
  /// The most tokens of a row, of a prompt, and of an answer.
  private static let rowLength = 128
  private static let answerLength = 24

  /// Texts that tokenizers differ in: cases, digits, accents, Chinese, symbols, white space and code.
  private static let texts = [
    "The quick brown fox doesn't jump over 12345 lazy dogs.", "Ça coûte 3,50 € à l’hôtel.",
    "\u{4ECA}\u{5929}\u{5929}\u{6C23}\u{5F88}\u{597D}\u{FF0C}\u{6211}\u{5011}\u{53BB}\u{884C}\u{5C71}\u{3002}",
    "def f(x):\n    return x ** 2  # \u{1F600}\n\n\n\tif a != b: pass", "  leading and trailing  ",
  ]

  /// Records what a model does now.
  /// - Parameters:
  ///   - model: the model, with its adapter.
  ///   - adapter: the adapter, which is switched off for a moment to measure the base model.
  ///   - set: validation or training rows, of which a few are recorded; `nil` for sample texts.
  ///   - answerCount: the number of greedy answers to record.
  ///   - progress: called with the number of answers recorded and of all.
  public init(
    of model: CausalLM, adapter: Adapter?, rows set: TrainingSet?, answerCount: Int = 20,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    let examples = set.map(Self.examples) ?? Self.samples(model)
    rows = examples.map { Row(ids: $0.ids, labels: $0.labels, loss: 0) }
    for index in rows.indices { rows[index].loss = rows[index].measured(on: model) }
    if let adapter {
      adapter.isEnabled = false
      defer { adapter.isEnabled = true }
      for index in rows.indices { rows[index].baseLoss = rows[index].measured(on: model) }
    }
    try model.transformer.backend.check()
    let prompts = rows.prefix(answerCount).map(\.prompt)
    for prompt in prompts {
      answers.append(Self.answer(prompt, model, Self.answerLength))
      progress(answers.count, prompts.count)
    }
    tokenizer = Self.texts.map { TokenizerSample(text: $0, ids: model.tokenizer.encode($0, addSpecialTokens: false)) }
    template = Self.hash(model.chatTemplate?.source)
    endOfSequence = model.endOfSequence?.id
  }

  /// Rows spread over a set, with something to predict.
  private static func examples(_ set: TrainingSet) -> [Example] {
    var found: [Example] = []
    let step = max(1, set.documentCount / (2 * rowCount))
    for index in stride(from: 0, to: set.documentCount, by: step) where found.count < rowCount {
      guard var example = set.example(index) else { continue }
      example.ids = Array(example.ids.prefix(rowLength))
      example.labels = Array(example.labels.prefix(rowLength))
      // Prompts, whose completions are sampled in training.
      if example.labels.allSatisfy({ $0 == TokenBatch.ignoredLabel }) { example.labels = example.ids }
      if example.labels.dropFirst().contains(where: { $0 != TokenBatch.ignoredLabel }) { found.append(example) }
    }
    return found
  }

  private static func samples(_ model: CausalLM) -> [Example] {
    MergeCheck.prompts(for: model).map { ids in
      let ids = Array(ids.prefix(rowLength))
      return Example(ids: ids, labels: ids, row: 0)
    }
  }

  static func hash(_ template: String?) -> String? {
    template.map { template in
      var hash = ContentHash()
      hash.update(template)
      return hash.hexadecimal
    }
  }

  static func answer(_ prompt: [Int32], _ model: CausalLM, _ length: Int) -> Answer {
    let generation = model.generate(prompt, maxNewTokens: length).generation
    return Answer(prompt: prompt, ids: generation.ids, ends: generation.finishReason == .stop)
  }
}

extension VerificationRecord.Row {
  /// The tokens before the first label; of a row that is trained from its start, a quarter.
  fileprivate var prompt: [Int32] {
    let first = labels.firstIndex { $0 != TokenBatch.ignoredLabel } ?? 0
    return Array(ids.prefix(first > 0 ? first : max(1, ids.count / 4)))
  }

  /// The row's loss under a model.
  func measured(on model: CausalLM) -> Double {
    var batch = TokenBatch([ids])
    batch.targets = labels.dropFirst() + [TokenBatch.ignoredLabel]
    var sums = [TrainingStep.loss(batch, model.transformer)]
    LossSums.resolve(&sums, on: model.transformer.backend)
    return sums[0].loss
  }
}
