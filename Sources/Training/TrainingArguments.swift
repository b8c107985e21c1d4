import Datasets
import Tensors

/// How training runs. Names and defaults are those of TRL's `SFTConfig`; a key's meaning stands in
/// `Documentation/RecipeKeys.md`.
public struct TrainingArguments: Sendable, Hashable {
  /// The folder for checkpoints and the result.
  public var outputDir = "trainer_output"
  /// A name for the run, shown in its reports.
  public var runName: String?
  /// Where to go on from.
  public var resume = Resume.fromStart

  /// Rows a step and process, before accumulation.
  public var trainBatchSize = 8
  /// Batches that add up to one optimizer step.
  public var gradientAccumulationSteps = 1
  /// Passes over the training rows.
  public var epochs = 3.0
  /// Optimizer steps; `nil` for as many as `epochs` gives.
  public var maxSteps: Int?
  /// Whether the batch is made smaller, and the accumulation longer, until a step fits into memory.
  public var findsBatchSize = false
  /// Whether an incomplete last batch is left out.
  public var dropsLastBatch = false
  /// The order of rows.
  public var samplingStrategy = SamplingStrategy.random
  /// Seeds the adapter's start, dropout and noise; and the order of rows unless `dataSeed` does.
  public var seed = 42
  /// Seeds the order of rows.
  public var dataSeed: Int?

  /// The peak learning rate.
  public var learningRate = 2e-5
  /// The curve of the learning rate.
  public var scheduler = LearningRateSchedule.Kind.linear
  /// What the curve takes beyond warm-up and length.
  public var schedulerOptions = LearningRateSchedule.Options()
  /// Optimizer steps of warm-up; below 1, a share of all steps.
  public var warmupSteps = 0.0
  /// The share of all steps spent warming up, where `warmupSteps` is 0.
  public var warmupRatio = 0.0
  /// The update rule.
  public var optimizer = OptimizerName.adamWTorchFused
  /// What `sgd` takes beyond the learning rate.
  public var sgdOptions: SGDOptions?
  /// Decoupled weight decay.
  public var weightDecay = 0.0
  /// AdamW's decay of the first moment.
  public var adamBeta1 = 0.9
  /// AdamW's decay of the second moment.
  public var adamBeta2 = 0.999
  /// AdamW's epsilon.
  public var adamEpsilon = 1e-8
  /// The global gradient norm above which gradients are scaled down; 0 for never.
  public var maxGradNorm = 1.0
  /// The strength of noise added to embeddings (NEFTune, arXiv:2310.05914).
  public var neftuneNoiseAlpha: Double?
  /// How far labels are smoothed: this share of each target is spread over the whole vocabulary (arXiv:1512.00567).
  public var labelSmoothing = 0.0
  /// Whether training rounds both sides of products to bfloat16, where the processor multiplies that faster; `nil` for
  /// not.
  public var bf16: Bool?
  /// Which activations are computed again in the backward pass instead of kept.
  public var checkpointing = Checkpointing.auto

  /// What is minimized.
  public var lossType = LossType.nll
  /// Whether the loss counts completions only; `nil` for rows that have a `prompt`.
  public var completionOnlyLoss: Bool?
  /// Whether the loss counts the assistant's turns only.
  public var assistantOnlyLoss = false

  /// Tokens a row or pack holds at most; `nil` for no limit.
  public var maxLength: Int? = 1024
  /// Which end of a too long row stays.
  public var truncationMode = PreparationOptions.Truncation.keepStart
  /// Whether rows share sequences of `maxLength` tokens.
  public var packing = false
  /// How rows are laid into packs.
  public var packingStrategy = PackingStrategy.bfd
  /// Whether evaluation packs too; `nil` for as in training.
  public var evalPacking: Bool?
  /// The end-of-sequence token, where it is not the tokenizer's.
  public var eosToken: String?
  /// The padding token, where it is not the tokenizer's.
  public var padToken: String?
  /// A Jinja file, or a model whose chat template is taken.
  public var chatTemplatePath: String?

  /// When figures are logged.
  public var loggingStrategy = IntervalStrategy.steps
  /// Optimizer steps between logs; below 1, a share of all steps.
  public var loggingSteps = 10.0
  /// Whether the first step is logged too.
  public var logsFirstStep = false
  /// Whether no progress bar is shown.
  public var hidesProgress = false
  /// When the loss on held-out rows is measured.
  public var evalStrategy = IntervalStrategy.no
  /// Optimizer steps between measurements; below 1, a share of all steps; `nil` for as `loggingSteps`.
  public var evalSteps: Double?
  /// Whether it is measured before the first step too.
  public var evalOnStart = false
  /// Optimizer steps, or epochs for an `evalStrategy` of epochs, before which nothing is measured.
  public var evalDelay = 0.0
  /// Rows a batch in evaluation.
  public var evalBatchSize = 8
  /// When checkpoints are written.
  public var saveStrategy = SaveStrategy.steps
  /// Optimizer steps between checkpoints; below 1, a share of all steps.
  public var saveSteps = 500.0
  /// How many checkpoints stay; `nil` for all.
  public var saveTotalLimit: Int?
  /// Whether checkpoints lack the optimizer's state, so that none can be resumed.
  public var saveOnlyModel = false
  /// Whether the checkpoint of the lowest evaluation loss becomes the result.
  public var loadBestModelAtEnd = false
  /// Evaluations in a row without a better loss after which the run ends; `nil` for never.
  public var earlyStoppingPatience: Int?
  /// By how much a loss has to be lower to count as better, in nats.
  public var earlyStoppingThreshold = 0.0

  /// TRL's defaults.
  public init() {}
}

extension TrainingArguments {
  /// What the products of a training step are computed in.
  package var precision: Precision { bf16 == true ? .bfloat16 : .float32 }

  /// Where a run goes on from.
  public enum Resume: Sendable, Hashable {
    /// From the beginning.
    case fromStart
    /// From the newest `checkpoint-N` of the output folder.
    case latest
    /// From this checkpoint.
    case checkpoint(String)
  }

  /// What is minimized.
  public enum LossType: String, Sendable, CaseIterable {
    /// The mean negative log-likelihood of the predicted tokens.
    case nll
    /// TRL's name for the same loss computed in chunks, as it always is here.
    case chunkedNLL = "chunked_nll"
    /// Dynamic fine-tuning, each token's loss weighted by its probability (arXiv:2508.05629).
    case dft
  }

  /// Which layers compute their activations again instead of keeping them.
  public enum Checkpointing: String, Sendable, CaseIterable {
    /// As many as do not fit into memory.
    case auto
    /// All.
    case always = "true"
    /// None.
    case never = "false"
    /// Unsloth's word for all.
    case unsloth
  }

  /// When something recurs.
  public enum IntervalStrategy: String, Sendable, CaseIterable {
    case no, steps, epoch
  }

  /// When checkpoints are written.
  public enum SaveStrategy: String, Sendable, CaseIterable {
    case no, steps, epoch
    /// Whenever the evaluation loss is the lowest so far.
    case best
  }

  /// Makes the batch smaller by the least factor that leaves the rows of a step the same: halves it, where it is even,
  /// and doubles the accumulation.
  /// - Returns: `false` where a batch is a single row.
  package mutating func reduceBatch() -> Bool {
    guard let factor = (2...max(2, trainBatchSize)).first(where: { trainBatchSize % $0 == 0 }), trainBatchSize > 1
    else { return false }
    trainBatchSize /= factor
    gradientAccumulationSteps *= factor
    return true
  }

  /// The optimizer steps of a run with so many an epoch.
  package func totalSteps(stepsPerEpoch: Int) -> Int {
    maxSteps ?? Int(clamping: (epochs * Double(stepsPerEpoch)).rounded(.up))
  }

  /// How many of `total` optimizer steps warm up: `warmupSteps` if set, else the ratio, rounded up.
  public func warmupStepCount(ofTotal total: Int) -> Int {
    let wanted = warmupSteps > 0 ? warmupSteps : warmupRatio
    return Int(clamping: wanted >= 1 && warmupSteps > 0 ? wanted.rounded(.down) : (wanted * Double(total)).rounded(.up))
  }

  /// An interval such as `loggingSteps` in optimizer steps: below 1, the share of `total` rounded up; at least 1.
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
  /// The order in which a run with these settings goes over its items.
  package init(itemCount: Int, _ arguments: TrainingArguments) {
    self.init(
      itemCount: itemCount, batchSize: arguments.trainBatchSize,
      accumulationSteps: arguments.gradientAccumulationSteps,
      seed: UInt64(truncatingIfNeeded: arguments.dataSeed ?? arguments.seed),
      sampling: arguments.samplingStrategy, dropsLast: arguments.dropsLastBatch)
  }
}

extension PreparationOptions {
  /// How rows become examples, for training or for evaluation.
  package init(_ training: TrainingArguments, forEvaluation: Bool) {
    self.init()
    maxLength = training.maxLength
    truncation = training.truncationMode
    completionOnlyLoss = training.completionOnlyLoss
    assistantOnlyLoss = training.assistantOnlyLoss
    packing =
      (forEvaluation ? training.evalPacking ?? training.packing : training.packing) ? training.packingStrategy : nil
  }
}
