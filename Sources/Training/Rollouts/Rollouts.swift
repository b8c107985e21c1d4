import Checkpoints
import Datasets
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Tensors

/// The batches of a run that learns from the model's own completions: samples completions of prompts, has them rewarded,
/// and makes batches of them. Completions that are sampled together become several batches, which may be trained on
/// several times.
final class Rollouts {
  /// Prompts, and the rows that they come from.
  struct Prompts {
    let set: TrainingSet
    let rows: any RowSource
  }

  private let source: any CompletionSource
  private let rewards: [any Reward]
  private let settings: GRPOConfiguration
  private let configuration: TrainingConfiguration
  private let model: CausalLM
  private let prompts: Prompts
  /// The batches of the completions that were sampled last.
  private var current: (number: Int, batches: [TokenBatch])?

  /// - Parameters:
  ///   - source: where completions come from; `nil` for the model itself.
  ///   - rewards: judge the completions; `nil` for those that the settings name.
  /// - Throws: `SwiftletError` for a prompt that leaves no room in the model's context, and for rewards that are missing.
  init(
    _ model: CausalLM, _ settings: GRPOConfiguration, _ configuration: TrainingConfiguration, prompts: Prompts,
    source: (any CompletionSource)?, rewards: [any Reward]?
  ) throws(SwiftletError) {
    self.model = model
    self.settings = settings
    self.configuration = configuration
    self.prompts = prompts
    self.rewards = if let rewards { rewards } else { try settings.makeRewards() }
    var sampling = settings.sampling
    sampling.seed = UInt64(truncatingIfNeeded: configuration.seed)
    self.source =
      source ?? CompletionSampler(model: model, sampling: sampling, maxLength: settings.maxCompletionLength)
    if let weights = settings.rewardWeights, weights.count != self.rewards.count {
      throw SwiftletError.training(
        "`rewardWeights` has \(weights.count) weights for \(self.rewards.count) rewards; give one for each")
    }
    try check(prompts)
  }

  private func check(_ prompts: Prompts) throws(SwiftletError) {
    let context = model.transformer.configuration.contextLength
    for (index, item) in prompts.set.items.enumerated() where item.reduce(0, { $0 + $1.count }) >= context {
      throw SwiftletError.data(
        "the prompt has \(item.reduce(0) { $0 + $1.count }) tokens, but the model's context is limited to \(context); "
          + "set max_length to drop such rows", at: prompts.rows.location(of: prompts.set.rows[index]))
    }
  }

  var temperature: Float { settings.sampling.temperature }

  /// How many batches the completions that are sampled together are trained on, one after the other.
  private var batchesPerNumber: Int {
    settings.batchesPerGeneration(configuration) * max(1, settings.iterations)
  }

  // MARK: Training

  /// The batches of a step.
  /// - Parameters:
  ///   - items: for each batch, the prompts whose completions are sampled together for it and others.
  ///   - first: the number of batches of the run before them.
  ///   - logProbabilities: the log-probabilities of a batch's predicted tokens.
  func batches(
    of items: [[Int]], after first: Int, logProbabilities: (TokenBatch) -> [[Float]]
  ) throws -> [TokenBatch] {
    var batches: [TokenBatch] = []
    for (offset, items) in items.enumerated() {
      let (number, place) = (first + offset).quotientAndRemainder(dividingBy: batchesPerNumber)
      let sampled: [TokenBatch]
      if let current, current.number == number {
        sampled = current.batches
      } else {
        sampled = try sample(items, number: number, logProbabilities)
        current = (number, sampled)
      }
      var batch = sampled[place % sampled.count]
      if place > 0 { batch.sampled?.metrics = [:] }
      batches.append(batch)
    }
    return batches
  }

  private func sample(
    _ items: [Int], number: Int, _ logProbabilities: (TokenBatch) -> [[Float]]
  ) throws -> [TokenBatch] {
    let group = settings.groupSize(forValidation: false)
    let completions = try rewarded(items, of: prompts, group: group, number: number)
    let seed = UInt64(truncatingIfNeeded: configuration.seed)
    var random = TorchRandom(seed: seed &+ UInt64(truncatingIfNeeded: number))
    let order = random.permutation(completions.all.count)
    let count = settings.batchesPerGeneration(configuration)
    let size = order.count / count
    let tokens = Double(max(1, completions.all.reduce(0) { $0 + $1.trainedCount }))
    return (0..<count).map { index in
      // Completions of a prompt stand together, so that the model reads it once.
      var batch = TokenBatch(order[index * size..<(index + 1) * size].sorted().map { completions.all[$0] })
      batch.sampled?.tokensPerBatch = tokens / Double(count)
      if settings.isOffPolicy(configuration) {
        let found = logProbabilities(batch)
        batch.sampled?.logProbabilities = found
      }
      if index == 0 { batch.sampled?.metrics = completions.metrics }
      return batch
    }
  }

  // MARK: Evaluating

  /// The number of prompts of a validation batch.
  var validationPrompts: Int {
    max(1, configuration.evalBatchSize / max(1, settings.groupSize(forValidation: true)))
  }

  /// A batch of completions of some validation prompts. Every evaluation draws the same random numbers for them.
  func validationBatch(_ items: Range<Int>, of prompts: Prompts) throws -> TokenBatch {
    let group = settings.groupSize(forValidation: true)
    let completions = try rewarded(Array(items), of: prompts, group: group, number: -1 - items.lowerBound)
    var batch = TokenBatch(completions.all)
    batch.sampled?.tokensPerBatch = Double(max(1, completions.all.reduce(0) { $0 + $1.trainedCount }))
    batch.sampled?.metrics = completions.metrics
    return batch
  }

  // MARK: Sampling and rewarding

  private func rewarded(
    _ items: [Int], of prompts: Prompts, group: Int, number: Int
  ) throws -> (all: [RewardedCompletion], metrics: [String: MetricSum]) {
    let examples = items.compactMap { prompts.set.example($0) }
    let found = try source.completions(of: examples.map(\.ids), count: group, number: number)
    let rows = try examples.map { try prompts.rows.row(at: $0.row) }
    let sampled = found.enumerated().map { index, completion in
      SampledCompletion(
        row: rows[index / group], text: model.tokenizer.decode(completion.ids, skipSpecialTokens: true),
        ids: completion.ids)
    }
    let scores = try rewards.map { reward in
      let scores = try reward.scores(sampled)
      guard scores.count == sampled.count, scores.allSatisfy({ $0?.isFinite ?? true }) else {
        throw SwiftletError.training(
          "the reward \(reward.name) must return a finite number or `nil` for each of the \(sampled.count) completions")
      }
      return scores
    }
    let result = RewardScores(
      scores, names: rewards.map(\.name), weights: settings.rewardWeights, groupSize: group,
      scaling: settings.rewardScaling)
    let lengths = CompletionLengths(lengths: found.map { ($0.ids.count, $0.isTruncated) })
    let advantages = result.advantages
    let all = found.enumerated().map { index, completion in
      RewardedCompletion(
        prompt: examples[index / group].ids, ids: completion.ids, advantage: advantages[index],
        isMasked: settings.masksTruncated && completion.isTruncated, row: examples[index / group].row)
    }
    return (all, result.metrics.merging(lengths.metrics) { $1 })
  }
}

/// A completion with its prompt, as training needs it.
private struct RewardedCompletion {
  var prompt: [Int32]
  var ids: [Int32]
  var advantage: Double
  /// Whether it is left out of the loss.
  var isMasked: Bool
  /// The row of the prompt in the dataset.
  var row: Int

  var trainedCount: Int { isMasked ? 0 : ids.count }
}

extension TokenBatch {
  /// The batch of these completions, of which those of the same prompt form an item.
  fileprivate init(_ completions: [RewardedCompletion]) {
    self.init(completions.map { $0.prompt + $0.ids })
    var sampled = SampledCompletions()
    for (index, completion) in completions.enumerated() {
      let masked = completion.isMasked ? completion.prompt.count + completion.ids.count : completion.prompt.count
      // A token is predicted where the one before it stands.
      for row in sequenceStarts[index]..<sequenceStarts[index] + max(0, masked - 1) {
        targets[row] = Self.ignoredLabel
      }
      if index > 0, completions[index - 1].row == completion.row {
        itemSizes[itemSizes.count - 1] += 1
      } else {
        itemSizes.append(1)
      }
      sampled.advantages.append(completion.advantage)
      rows.append(completion.row)
    }
    self.sampled = sampled
  }
}

// MARK: - Checkpoints

extension Rollouts {
  /// The file of a checkpoint with completions that the run trains on again after it.
  static let fileName = "completions.json"

  /// Writes the completions that are trained on after `batches` batches of the run, if there are any.
  func write(to folder: URL, after batches: Int) throws(SwiftletError) {
    guard let current, batches % batchesPerNumber != 0, batches / batchesPerNumber == current.number else { return }
    let json: JSONValue = [
      "number": .integer(current.number), "batches": .array(current.batches.map(\.json)),
    ]
    try AtomicFile.write(json.text(.compact) + "\n", to: folder.appendingPathComponent(Self.fileName))
  }

  /// Reads what `write` wrote.
  func read(from folder: URL, after batches: Int) throws(SwiftletError) {
    current = nil
    guard batches % batchesPerNumber != 0 else { return }
    let file = folder.appendingPathComponent(Self.fileName)
    let json = try? JSONValue(parsing: RegularFile.contents(of: file))
    let read: [TokenBatch?] = (json?["batches"]?.array ?? []).map { TokenBatch($0) }
    guard let number = json?["number"]?.integer, number == batches / batchesPerNumber,
      read.count == settings.batchesPerGeneration(configuration)
    else {
      throw SwiftletError.checkpoint(
        path: file.path,
        reason: "the completions that the next step learns from are missing; resume from another checkpoint")
    }
    let found = read.compactMap { $0 }
    let vocabulary = 0..<Int32(clamping: model.transformer.configuration.vocabularySize)
    guard found.count == read.count, found.allSatisfy({ $0.isWithin(vocabulary) }) else {
      throw SwiftletError.checkpoint(path: file.path, reason: "the file is damaged; resume from another checkpoint")
    }
    current = (number, found)
  }
}

extension TokenBatch {
  /// The completions for a checkpoint, without what was reported about them.
  fileprivate var json: JSONValue {
    func list(_ numbers: some Sequence<Int>) -> JSONValue { .array(numbers.map { .integer($0) }) }
    return [
      "ids": list(ids.map(Int.init)), "targets": list(targets.map(Int.init)), "starts": list(sequenceStarts),
      "items": list(itemSizes), "rows": list(rows),
      "advantages": .array((sampled?.advantages ?? []).map { .number($0) }),
      "tokens_per_batch": .number(sampled?.tokensPerBatch ?? 1),
      "log_probabilities": .array(
        (sampled?.logProbabilities ?? []).map { .array($0.map { .number(Double($0)) }) }),
    ]
  }

  /// Whether all tokens and targets are among these.
  fileprivate func isWithin(_ vocabulary: Range<Int32>) -> Bool {
    ids.allSatisfy(vocabulary.contains) && targets.allSatisfy { $0 == Self.ignoredLabel || vocabulary.contains($0) }
  }

  /// Reads what `json` wrote; `nil` if it contradicts itself.
  fileprivate init?(_ json: JSONValue) {
    func list(_ key: String) -> [Int]? {
      guard let values = json[key]?.array else { return nil }
      let numbers = values.compactMap { value in value.integer.flatMap { Int32(exactly: $0) }.map(Int.init) }
      return numbers.count == values.count ? numbers : nil
    }
    self.init()
    guard let ids = list("ids"), let targets = list("targets"), let starts = list("starts"),
      let items = list("items"), let rows = list("rows"), let advantages = json["advantages"]?.array,
      let tokens = json["tokens_per_batch"]?.double, let logs = json["log_probabilities"]?.array,
      targets.count == ids.count, starts.first == 0, starts.last == ids.count, starts == starts.sorted(),
      items.allSatisfy({ $0 > 0 }), items.reduce(0, +) == starts.count - 1, advantages.count == starts.count - 1,
      rows.count == starts.count - 1, logs.isEmpty || logs.count == starts.count - 1
    else { return nil }
    (self.ids, self.targets) = (ids.map { Int32($0) }, targets.map { Int32($0) })
    (sequenceStarts, itemSizes, self.rows) = (starts, items, rows)
    var sampled = SampledCompletions()
    sampled.tokensPerBatch = tokens
    sampled.advantages = advantages.compactMap(\.double)
    sampled.logProbabilities = logs.map { ($0.array ?? []).compactMap { $0.double.map { Float($0) } } }
    for (start, end) in zip(starts, starts.dropFirst()) { positions += 0..<Int32(end - start) }
    let predicted = zip(starts, starts.dropFirst()).map { start, end in
      self.targets[start..<end].count { $0 != Self.ignoredLabel }
    }
    guard sampled.advantages.count == starts.count - 1,
      sampled.logProbabilities.isEmpty || sampled.logProbabilities.map(\.count) == predicted
    else { return nil }
    self.sampled = sampled
  }
}
