import Diagnostics
import Models

/// Settings of group relative policy optimization (GRPO, arXiv:2402.03300), as TRL's `GRPOConfig`.
public struct GRPOConfiguration: MethodSettings, Hashable, Codable {
  /// How the losses of tokens are added up.
  public enum LossType: String, Sendable, CaseIterable, Codable {
    /// The mean over tokens of each completion, then over completions.
    case grpo
    /// The mean over all tokens of a batch.
    case bnpo
    /// The sum over tokens, divided by what it would be if all completions had the maximum length (arXiv:2503.20783).
    case drGRPO = "dr_grpo"
    /// The mean over all tokens of the completions that were sampled together (arXiv:2503.14476).
    case dapo
  }

  /// What the differences between rewards are divided by.
  public enum RewardScaling: String, Sendable, CaseIterable, Codable {
    /// The standard deviation of the group's rewards.
    case group
    /// The standard deviation of the rewards of all completions that were sampled together.
    case batch
    /// Nothing.
    case none
  }

  /// What the ratio of probabilities is taken of.
  public enum ImportanceSamplingLevel: String, Sendable, CaseIterable, Codable {
    /// Each token.
    case token
    /// The whole completion, normalized by its length (GSPO, arXiv:2507.18071).
    case sequence
  }

  /// How the losses of tokens are added up.
  public var lossType = LossType.dapo
  /// The weight of the divergence from the reference; 0 does without a reference.
  public var beta = 0.0
  /// Whether the divergence is weighted by the ratio of probabilities, which makes its gradient unbiased
  /// (arXiv:2512.02556).
  public var correctsDivergence = true
  /// How far the ratio may fall below 1 before it stops counting.
  public var epsilon = 0.2
  /// How far the ratio may rise above 1 before it stops counting; `nil` for `epsilon`.
  public var epsilonHigh: Double?
  /// The largest ratio that counts for completions with a negative advantage too (arXiv:2505.07291); `nil` for no limit.
  public var delta: Double?
  /// What the ratio of probabilities is taken of.
  public var importanceSamplingLevel = ImportanceSamplingLevel.token

  // MARK: Sampling

  /// Completions per prompt: the size of a group.
  public var generations = 8
  /// Completions per prompt in evaluations; `nil` for `generations`.
  public var validationGenerations: Int?
  /// The most tokens of a completion.
  public var maxCompletionLength = 512
  /// How completions are sampled. The seed is that of the run.
  public var sampling: SamplingConfiguration = {
    var sampling = SamplingConfiguration()
    sampling.temperature = 1
    return sampling
  }()
  /// Batches that are sampled together; `nil` for those of an optimizer step.
  public var stepsPerGeneration: Int?
  /// Completions that are sampled together, another way to give `stepsPerGeneration`.
  public var generationBatchSize: Int?
  /// How often the batches that were sampled together are trained on.
  public var iterations = 1
  /// Whether completions that reached the maximum length are left out of the loss.
  public var masksTruncated = false

  // MARK: Rewards

  /// The rewards: names of built-in ones, and command lines of programs. Their weighted sum counts.
  public var rewards: [String] = []
  /// The weight of each reward; `nil` for 1.
  public var rewardWeights: [Double]?
  /// What the differences between rewards are divided by.
  public var rewardScaling = RewardScaling.group
  /// How long a program may take, in seconds.
  public var rewardTimeout = 120.0

  /// How the reference model is used.
  public var reference = ReferenceSettings()

  /// Creates settings with TRL's defaults.
  public init() {}

  package var loss: any TrainingLoss { GRPOLoss(self) }
  package var rowKind: RowKind { .prompt }
  package var referenceSettings: ReferenceSettings? { beta == 0 ? nil : reference }

  /// Batches that are sampled together.
  func batchesPerGeneration(_ configuration: TrainingConfiguration) -> Int {
    if let generationBatchSize { return max(1, generationBatchSize / max(1, configuration.trainBatchSize)) }
    return max(1, stepsPerGeneration ?? configuration.gradientAccumulationSteps)
  }

  /// Prompts whose completions are sampled together.
  func promptsPerGeneration(_ configuration: TrainingConfiguration) -> Int {
    max(1, batchesPerGeneration(configuration) * configuration.trainBatchSize / max(1, generations))
  }

  /// Whether batches are trained on after the model has changed since their completions were sampled.
  func isOffPolicy(_ configuration: TrainingConfiguration) -> Bool {
    configuration.gradientAccumulationSteps % (batchesPerGeneration(configuration) * max(1, iterations)) != 0
  }

  /// Completions per prompt.
  func groupSize(forValidation: Bool) -> Int { forValidation ? validationGenerations ?? generations : generations }

  /// The loss is always near 0.
  package var progressMetric: String? { "reward" }

  package func rewards(locate: (String) -> String) throws(SwiftletError) -> [any Reward]? {
    try makeRewards(locate: locate)
  }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    if let problem = samplingProblem(configuration) { return problem }
    if let weights = rewardWeights, !rewards.isEmpty, weights.count != rewards.count {
      return "`rewardWeights` has \(weights.count) weights for \(rewards.count) `rewards`; give one for each"
    }
    if reference.isPrecomputed {
      return "`isPrecomputed` cannot be honored: the completions are not known before training; leave it out"
    }
    return beta == 0 ? nil : reference.problem(trainsAdapter: trainsAdapter)
  }

  private func samplingProblem(_ configuration: TrainingConfiguration) -> String? {
    if generations < 2 {
      return "`generations` must be at least 2, to compare completions of a prompt (got \(generations))"
    }
    if stepsPerGeneration != nil, generationBatchSize != nil {
      return "`stepsPerGeneration` and `generationBatchSize` say the same; leave one out"
    }
    let size = configuration.trainBatchSize
    if let whole = generationBatchSize, whole <= 0 || whole % max(1, size) != 0 {
      return "`generationBatchSize` \(whole) must be a multiple of `trainBatchSize` \(size)"
    }
    let sampled = batchesPerGeneration(configuration) * size
    if sampled % generations != 0 {
      return
        "\(sampled) completions are sampled together (`trainBatchSize` times `stepsPerGeneration`), which must be a "
        + "multiple of `generations` \(generations)"
    }
    let group = groupSize(forValidation: true)
    if group < 1 || configuration.evalStrategy != .no && configuration.evalBatchSize % group != 0 {
      return "`evalBatchSize` \(configuration.evalBatchSize) counts completions, so it must be a multiple of "
        + "`validationGenerations` \(group)"
    }
    if configuration.findsBatchSize {
      return "`findsBatchSize` cannot be combined with grpo, whose batches hold whole groups; lower `trainBatchSize`"
    }
    if sampling.temperature <= 0 { return "`temperature` must be positive, so that completions differ" }
    return nil
  }
}
