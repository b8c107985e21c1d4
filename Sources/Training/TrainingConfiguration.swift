import Datasets
import Tensors

/// How training runs. Members and defaults follow TRL's `SFTConfig`; `Documentation/RecipeKeys.md` explains each one
/// under the name that it has in a recipe.
public struct TrainingConfiguration: Sendable, Hashable, Codable {
  /// The folder for checkpoints and the result.
  public var outputDir = "trainer_output"
  /// A name for the run; the model card uses it as its title.
  public var runName: String?
  /// Which checkpoint the run continues from.
  public var resume = Resume.fromStart
  /// The number of greedy answers to record at the end, for `swiftlet verify`.
  public var verificationAnswers = 20
  /// Whether to open the result afresh at the end and compare it with what was recorded.
  public var verifiesAfterTraining = false

  /// What training does with the rows.
  public var method = TrainingMethod.sft

  /// Whose predictions supervised fine-tuning learns instead of the tokens of the rows; `nil` to learn the tokens.
  public var distillation: DistillationConfiguration?

  // MARK: Rows and tokens

  /// How rows become tokens and labels: maximum length, loss mask, packing.
  public var preparation = PreparationOptions()
  /// Whether validation rows are packed.
  public var evalPacking = EvalPacking.asInTraining
  /// The end-of-sequence token, if it should not be the tokenizer's own.
  public var eosToken: String?
  /// The padding token to save with the tokenizer, if it should not be the tokenizer's own. Training itself never pads.
  public var padToken: String?
  /// Texts to add to the vocabulary as tokens. Adapters train the embeddings of tokens that are new.
  public var addedTokens: [String] = []
  /// Special tokens to add to the vocabulary.
  public var addedSpecialTokens: [String] = []
  /// A Jinja file, or a model folder whose chat template is used.
  public var chatTemplatePath: String?

  // MARK: Batches

  /// The number of rows per batch, on each process.
  public var trainBatchSize = 8
  /// The number of batches per optimizer step.
  public var gradientAccumulationSteps = 1
  /// Passes over the training rows.
  public var epochs = 3.0
  /// Optimizer steps; `nil` for as many as `epochs` gives.
  public var maxSteps: Int?
  /// Whether to lower the batch size, and raise gradient accumulation to match, until a step fits in memory.
  public var findsBatchSize = false
  /// Whether to skip an incomplete last batch.
  public var dropsLastBatch = false
  /// The order of the training rows.
  public var samplingStrategy = SamplingStrategy.random
  /// The seed of adapter initialization, dropout and noise, and of the row order if `dataSeed` is `nil`.
  public var seed = 42
  /// The seed of the row order.
  public var dataSeed: Int?

  // MARK: Optimization

  /// The peak learning rate of the schedule.
  public var learningRate = 2e-5
  /// The peak learning rate of embeddings and output layers, which follows the same schedule; `nil` for `learningRate`.
  public var embeddingLearningRate: Double?
  /// The shape of the learning rate schedule.
  public var scheduler = LearningRateSchedule.Kind.linear
  /// Settings of the schedule other than its warmup and length.
  public var schedulerOptions = LearningRateSchedule.Options()
  /// Optimizer steps of warmup; below 1, a fraction of all steps.
  public var warmupSteps = 0.0
  /// The fraction of all steps spent on warmup, if `warmupSteps` is 0.
  public var warmupRatio = 0.0
  /// The optimizer and its settings.
  public var optimizer = OptimizerConfiguration()
  /// The global gradient norm above which gradients are clipped; 0 to never clip.
  public var maxGradNorm = 1.0
  /// The loss that training minimizes.
  public var lossType = LossType.nll
  /// The share of each target's probability that is spread over the vocabulary (arXiv:1512.00567).
  public var labelSmoothing = 0.0
  /// How much the auxiliary loss that keeps experts equally busy counts (arXiv:2101.03961); `nil` for what the model's
  /// configuration says. It has no part in distillation, reward modeling and classification.
  public var routerLossCoefficient: Double?
  /// The strength of the noise added to embeddings (NEFTune, arXiv:2310.05914).
  public var neftuneNoiseAlpha: Double?
  /// Whether the adapter's dropout is off in training. TRL switches it off for all methods but supervised fine-tuning.
  public var disablesDropout = false
  /// Whether training rounds the inputs of matrix products to 16 bits if the device multiplies those faster: to
  /// bfloat16 on a processor, to float16 on a GPU's matrix units. `nil` means no.
  public var bf16: Bool?
  /// Which layers recompute their activations in the backward pass.
  public var checkpointing = Checkpointing.auto
  /// How trained weights are stored in the result when every weight is trained. Adapters and checkpoints are float32.
  public var savedType = WeightType.float32

  // MARK: Logging, validation and checkpoints

  /// When to log: never, after a number of steps, or after each epoch.
  public var loggingStrategy = IntervalStrategy.steps
  /// Optimizer steps between logs; below 1, a fraction of all steps.
  public var loggingSteps = 10.0
  /// Whether to log the first step too.
  public var logsFirstStep = false
  /// When to measure the validation loss.
  public var evalStrategy = IntervalStrategy.no
  /// Optimizer steps between evaluations; below 1, a fraction of all steps; `nil` to use `loggingSteps`.
  public var evalSteps: Double?
  /// Whether to evaluate before the first step too.
  public var evalOnStart = false
  /// The optimizer step, or the epoch if `evalStrategy` is `.epoch`, before which nothing is evaluated.
  public var evalDelay = 0.0
  /// Rows per batch in evaluation.
  public var evalBatchSize = 8
  /// When to save checkpoints: never, by steps or epochs, or for each best loss.
  public var saveStrategy = SaveStrategy.steps
  /// Optimizer steps between checkpoints; below 1, a fraction of all steps.
  public var saveSteps = 500.0
  /// The number of checkpoints to keep; `nil` to keep all.
  public var saveTotalLimit: Int?
  /// Whether checkpoints omit the optimizer state. Such checkpoints cannot be resumed.
  public var saveOnlyModel = false
  /// Whether the checkpoint with the lowest validation loss becomes the result.
  public var loadBestModelAtEnd = false
  /// The number of evaluations in a row without improvement after which the run stops; `nil` to never stop early.
  public var earlyStoppingPatience: Int?
  /// By how much the validation loss must fall to count as an improvement, in nats.
  public var earlyStoppingThreshold = 0.0

  /// Creates a configuration with TRL's defaults.
  public init() {}
}

extension TrainingConfiguration {
  /// What the schedule's rate is multiplied by for embeddings and output layers.
  package var embeddingRateFactor: Double { (embeddingLearningRate ?? learningRate) / learningRate }

  /// Which checkpoint a run continues from.
  public enum Resume: Sendable, Hashable, Codable {
    /// None: the run starts at step 0.
    case fromStart
    /// The newest `checkpoint-N` in the output folder. It is an error if there is none.
    case latest
    /// The checkpoint in this folder.
    case checkpoint(String)
  }

  /// Whether validation rows are packed.
  public enum EvalPacking: Sendable, Hashable, Codable {
    /// As the training rows are.
    case asInTraining
    /// Validation rows are not packed: each is a sequence of its own.
    case unpacked
    /// Validation rows are packed with this strategy, whatever the training rows are.
    case packed(PackingStrategy)
  }

  /// The loss that training minimizes.
  public enum LossType: String, Sendable, CaseIterable, Codable {
    /// The mean negative log-likelihood of the trained tokens.
    case nll
    /// TRL's name for the same loss computed in chunks, which is how Swiftlet always computes it.
    case chunkedNLL = "chunked_nll"
    /// Dynamic fine-tuning: each token's loss is weighted by the token's probability (arXiv:2508.05629).
    case dft
  }

  /// Which layers recompute their activations in the backward pass instead of keeping them.
  public enum Checkpointing: String, Sendable, CaseIterable, Codable {
    /// As many layers as necessary to fit in memory, from the first one on.
    case auto
    /// All layers recompute their activations.
    case always = "true"
    /// No layer recomputes its activations.
    case never = "false"
    /// Unsloth's spelling, which means the same as `always`.
    case unsloth
  }

  /// The type in which weights are saved.
  public enum WeightType: String, Sendable, CaseIterable, Codable {
    /// As the base model stores its embeddings.
    case auto
    /// A float type for all weights.
    case float32, bfloat16, float16
  }

  /// When something recurs during a run.
  public enum IntervalStrategy: String, Sendable, CaseIterable, Codable {
    /// Never, at a fixed interval of optimizer steps, or after each epoch.
    case no, steps, epoch
  }

  /// When checkpoints are saved during a run.
  public enum SaveStrategy: String, Sendable, CaseIterable, Codable {
    /// Never, at a fixed interval of optimizer steps, or after each epoch.
    case no, steps, epoch
    /// Whenever the validation loss is the lowest so far.
    case best
  }

  /// The type in which matrix products of a training step take their inputs.
  package var precision: Precision { bf16 == true ? .bfloat16 : .float32 }

  /// What a row of the dataset becomes.
  package var rowKind: PreparationOptions.RowKind { method.settings?.rowKind ?? .sequence }

  /// How rows are prepared, for training or for validation.
  package func preparation(forValidation: Bool) -> PreparationOptions {
    var options = preparation
    options.rowKind = rowKind
    options.itemsPerBatch = trainBatchSize
    if forValidation {
      switch evalPacking {
      case .asInTraining: break
      case .unpacked: options.packing = nil
      case .packed(let strategy): options.packing = strategy
      }
    }
    return options
  }

  /// Divides the batch size by its smallest factor and multiplies gradient accumulation by it, so that a step still
  /// learns from the same rows.
  /// - Returns: `false` if a batch is a single row already.
  package mutating func reduceBatch() -> Bool {
    guard let factor = (2...max(2, trainBatchSize)).first(where: { trainBatchSize % $0 == 0 }), trainBatchSize > 1
    else { return false }
    trainBatchSize /= factor
    gradientAccumulationSteps *= factor
    return true
  }

  /// The number of optimizer steps of a run with this many per epoch.
  package func totalSteps(stepsPerEpoch: Int) -> Int {
    maxSteps ?? Int(clamping: (epochs * Double(stepsPerEpoch)).rounded(.up))
  }

  /// How many of `total` optimizer steps are warmup: `warmupSteps` if it is set, else `warmupRatio`, rounded up.
  public func warmupStepCount(ofTotal total: Int) -> Int {
    let wanted = warmupSteps > 0 ? warmupSteps : warmupRatio
    return Int(clamping: wanted >= 1 && warmupSteps > 0 ? wanted.rounded(.down) : (wanted * Double(total)).rounded(.up))
  }

  /// An interval such as `loggingSteps` in optimizer steps: below 1, that fraction of `total`, rounded up. At least 1.
  public static func interval(_ steps: Double, ofTotal total: Int) -> Int {
    max(1, Int(clamping: steps < 1 ? (steps * Double(total)).rounded(.up) : steps.rounded(.down)))
  }
}

extension Int {
  /// The integer part of `value`, clamped to ±2^62; 0 for NaN.
  package init(clamping value: Double) {
    self = value.isNaN ? 0 : value >= 0x1p62 ? 1 << 62 : value <= -0x1p62 ? -(1 << 62) : Int(value)
  }
}

extension BatchOrder {
  /// The order in which a run visits its items.
  package init(itemCount: Int, _ configuration: TrainingConfiguration, ranks: Int = 1) {
    var (size, dropsLast, repeats) = (configuration.trainBatchSize, configuration.dropsLastBatch, 1)
    if case .grpo(let settings) = configuration.method {
      // A batch of prompts is sampled at once, and its completions are trained on in several batches.
      size = settings.promptsPerGeneration(configuration)
      dropsLast = true
      repeats = settings.batchesPerGeneration(configuration) * max(1, settings.iterations)
    }
    self.init(
      itemCount: itemCount, batchSize: size, accumulationSteps: configuration.gradientAccumulationSteps,
      seed: UInt64(truncatingIfNeeded: configuration.dataSeed ?? configuration.seed),
      sampling: configuration.samplingStrategy, dropsLast: dropsLast, repeats: repeats, ranks: ranks)
  }
}
