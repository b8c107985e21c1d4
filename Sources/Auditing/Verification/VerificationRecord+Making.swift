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
  private static let tokenizerTexts = [
    "The quick brown fox doesn't jump over 12345 lazy dogs.", "Ça coûte 3,50 € à l’hôtel.",
    "\u{4ECA}\u{5929}\u{5929}\u{6C23}\u{5F88}\u{597D}\u{FF0C}\u{6211}\u{5011}\u{53BB}\u{884C}\u{5C71}\u{3002}",
    "def f(x):\n    return x ** 2  # \u{1F600}\n\n\n\tif a != b: pass", "  leading and trailing  ",
  ]

  /// Records what a model does now.
  /// - Parameters:
  ///   - model: the model, with its adapter.
  ///   - adapter: the adapter, which is switched off for a moment to measure the base model.
  ///   - set: validation or training rows, of which a few are recorded; `nil` for sample texts.
  ///   - answerCount: the number of greedy answers to record; a model that scores texts has none.
  ///   - progress: called with the number of answers recorded and of all.
  public init(
    of model: CausalLM, adapter: Adapter?, rows set: TrainingSet?, answerCount: Int = 20,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    if let head = model.transformer.sequenceHead {
      labels = head.labels
      try recordScores(set.map(Self.texts) ?? Self.samples(model), model, adapter)
    } else {
      try recordLosses(set.map(Self.examples) ?? Self.samples(model), model, adapter)
    }
    try model.transformer.backend.check()
    let prompts = rows.prefix(answerCount).map(\.prompt)
    for prompt in prompts {
      answers.append(Self.answer(prompt, model, Self.answerLength))
      progress(answers.count, prompts.count)
    }
    tokenizer = Self.tokenizerTexts.map { text in
      TokenizerSample(text: text, ids: model.tokenizer.encode(text, addSpecialTokens: false))
    }
    template = Self.hash(model.chatTemplate?.source)
    endOfSequence = model.endOfSequence?.id
  }

  private mutating func recordLosses(_ examples: [Example], _ model: CausalLM, _ adapter: Adapter?) throws {
    rows = examples.map { Row(ids: $0.ids, labels: $0.labels, loss: 0) }
    for index in rows.indices { rows[index].loss = rows[index].measured(on: model) }
    guard let adapter else { return }
    adapter.isEnabled = false
    defer { adapter.isEnabled = true }
    for index in rows.indices { rows[index].baseLoss = rows[index].measured(on: model) }
  }

  private mutating func recordScores(_ examples: [Example], _ model: CausalLM, _ adapter: Adapter?) throws {
    texts = try examples.map { example in
      var text = ScoredText(ids: example.ids, scores: [])
      text.scores = try text.measured(on: model)
      return text
    }
    guard let adapter, let head = model.transformer.sequenceHead?.weight else { return }
    // The base model has no head of its own, so what it would score under the trained one is compared.
    let trained = head.value
    adapter.isEnabled = false
    defer { adapter.isEnabled = true }
    head.value = trained
    for index in texts.indices { texts[index].baseScores = try texts[index].measured(on: model) }
  }

  /// Rows with something to predict.
  private static func examples(_ set: TrainingSet) -> [Example] {
    let found = spread(over: set).compactMap { example -> Example? in
      var example = example
      // Prompts, whose completions are sampled in training.
      if example.labels.allSatisfy({ $0 == TokenBatch.ignoredLabel }) { example.labels = example.ids }
      return example.labels.dropFirst().contains { $0 != TokenBatch.ignoredLabel } ? example : nil
    }
    return Array(found.prefix(rowCount))
  }

  /// Rows to score.
  private static func texts(_ set: TrainingSet) -> [Example] { Array(spread(over: set).prefix(rowCount)) }

  /// The beginnings of rows from all over a set, more than are recorded. Of pairs, an odd step takes both sequences in turn.
  private static func spread(over set: TrainingSet) -> [Example] {
    let step = max(1, set.documentCount / (2 * rowCount)) | 1
    return stride(from: 0, to: set.documentCount, by: step).compactMap { index in
      guard var example = set.example(index) else { return nil }
      example.ids = Array(example.ids.prefix(rowLength))
      example.labels = Array(example.labels.prefix(rowLength))
      return example
    }
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

extension VerificationRecord.ScoredText {
  /// The text's scores under a model.
  /// - Throws: `SwiftletError` if the model can't score it.
  func measured(on model: CausalLM) throws -> [Double] {
    try model.scores(of: [Array(ids.prefix(model.transformer.configuration.contextLength))]).joined().map(Double.init)
  }
}
