import Models
import Tensors

/// What training minimizes. The trainer's loop is the same for every loss; adopt this protocol to train with your own.
///
/// ```swift
/// /// Cross-entropy that ignores tokens the model is already sure of.
/// struct HardTokenLoss: TrainingLoss {
///   func compute(_ pass: TrainingPass) -> LossSums {
///     let (hidden, targets) = pass.hiddenStates()
///     return pass.crossEntropy(hidden, targets) { _, losses in losses.map { $0 < 0.01 ? 0 : 1 } }
///   }
/// }
/// ```
public protocol TrainingLoss: Sendable {
  /// How much a batch counts in the mean over the batches of a step: by default, its number of predicted tokens. A loss
  /// over pairs of sequences would return the number of pairs.
  func weight(of batch: TokenBatch) -> Int

  /// Computes the loss of one batch and records its gradient on `pass.tape`. The gradient must be multiplied by
  /// `pass.gradientScale`, which `pass.crossEntropy` does.
  /// - Returns: sums over the batch. The logged loss is `loss` divided by `count`, both added up over the step.
  func compute(_ pass: TrainingPass) throws -> LossSums

  /// Computes the validation loss of one batch. The tape does not record.
  func validate(_ pass: TrainingPass) throws -> LossSums

  /// The names of everything that `compute` and `validate` may report in `LossSums.metrics`, such as `rewards/margins`.
  var metricNames: [String] { get }
}

extension TrainingLoss {
  /// The number of predicted tokens.
  public func weight(of batch: TokenBatch) -> Int { batch.targetCount }

  /// The negative log-likelihood of the predicted tokens.
  public func validate(_ pass: TrainingPass) throws -> LossSums {
    let (hidden, targets) = pass.hiddenStates()
    return pass.crossEntropy(hidden, targets)
  }

  /// None.
  public var metricNames: [String] { [] }
}

/// The cross-entropy of the predicted tokens: the mean negative log-likelihood, optionally with label
/// smoothing or the token weights of dynamic fine-tuning.
public struct CrossEntropyLoss: TrainingLoss {
  /// The share of each target's probability that is spread over the vocabulary (arXiv:1512.00567).
  public var smoothing: Double
  /// Whether each token's loss is multiplied by the token's probability, which counts as a constant (arXiv:2508.05629).
  public var weightsByProbability: Bool

  /// A cross-entropy; by default the plain negative log-likelihood.
  public init(smoothing: Double = 0, weightsByProbability: Bool = false) {
    self.smoothing = smoothing
    self.weightsByProbability = weightsByProbability
  }

  /// Computes the loss of one batch.
  public func compute(_ pass: TrainingPass) -> LossSums {
    let (hidden, targets) = pass.hiddenStates()
    return pass.crossEntropy(
      hidden, targets, smoothing: smoothing, weightsByProbability: weightsByProbability, weights: nil)
  }
}

/// One batch in training: what a `TrainingLoss` computes with.
public struct TrainingPass {
  /// The weights of tokens, given their rows in the hidden states and their losses in nats.
  public typealias TokenWeights = (_ rows: [Int32], _ losses: [Float]) -> [Float]

  /// The batch to compute the loss of.
  public let batch: TokenBatch
  /// The model, with its adapter if one is trained.
  public let model: Transformer
  /// Records the operations of this pass.
  public let tape: Tape
  /// The factor for the gradient of each unit of weight: one over the weight of all batches of the step.
  public let gradientScale: Float
  let checkpoints: CheckpointingPlan?
  let noise: NEFTuneNoise?
  let sharesPrefix: Bool
  /// The model that preference losses compare with, if there is one.
  let reference: ReferenceModel?
  /// The model whose predictions are learned, if there is one.
  let teacher: Transformer?
  /// How many sequences a row of the dataset became.
  let sequencesPerItem: Int
  /// Collects the routers' auxiliary losses, if they count.
  let routerLosses: RouterLosses?

  /// A pass in training.
  init(
    batch: TokenBatch, model: Transformer, tape: Tape, gradientScale: Float, checkpoints: CheckpointingPlan?,
    noise: NEFTuneNoise?, sharesPrefix: Bool, reference: ReferenceModel?, teacher: Transformer? = nil,
    sequencesPerItem: Int, routerLosses: RouterLosses? = nil
  ) {
    self.batch = batch
    self.model = model
    self.tape = tape
    self.gradientScale = gradientScale
    self.checkpoints = checkpoints
    self.noise = noise
    self.sharesPrefix = sharesPrefix
    self.reference = reference
    self.teacher = teacher
    self.sequencesPerItem = sequencesPerItem
    self.routerLosses = routerLosses
  }

  /// A pass without gradients.
  init(
    evaluating batch: TokenBatch, _ model: Transformer, reference: ReferenceModel?, teacher: Transformer?,
    sequencesPerItem: Int, routerLosses: RouterLosses? = nil
  ) {
    self.init(
      batch: batch, model: model, tape: Tape(on: model.backend, isRecording: false), gradientScale: 1,
      checkpoints: nil, noise: nil, sharesPrefix: model.canSharePrefix, reference: reference,
      teacher: teacher, sequencesPerItem: sequencesPerItem, routerLosses: routerLosses)
  }

  /// The final hidden states of another model, without gradients, for the same rows as `hiddenStates(sharingPrefix:)`.
  func hiddenStates(of other: Transformer, sharingPrefix: Bool) -> Tensor {
    let tokens = sharesPrefix && sharingPrefix ? batch.sharingPrefix() : batch
    return other.hiddenStates(tokens, on: Tape(on: other.backend, isRecording: false, precision: tape.precision)).value
  }

  /// Runs the batch through the transformer.
  /// - Parameter sharingPrefix: whether a prefix that all sequences share may go through the model once. Pass `false`
  ///   if the rows of the result must be those of `batch.ids`.
  /// - Returns: the final hidden states `[rows, hiddenSize]`, and the token that each row must predict
  ///   (`TokenBatch.ignoredLabel` for none).
  public func hiddenStates(sharingPrefix: Bool = true) -> (hidden: Variable, targets: [Int32]) {
    let tokens = sharesPrefix && sharingPrefix ? batch.sharingPrefix() : batch
    return (hiddenStates(of: [tokens]), tokens.targets)
  }

  /// Runs these batches through the transformer at once.
  func hiddenStates(of batches: [TokenBatch]) -> Variable {
    let count = batches.reduce(0) { $0 + $1.ids.count }
    return model.hiddenStates(
      batches, on: tape, checkpointed: checkpoints?.layers(tokens: count) ?? [], noise: noise,
      routerLoss: routerLosses?.loss(of: batches, on: model.backend))
  }

  /// The cross-entropy of the head's logits, in nats, without ever holding all logits in memory.
  /// - Parameters:
  ///   - hidden: final hidden states `[rows, hiddenSize]`.
  ///   - targets: the token that each row must predict.
  ///   - smoothing: the share of each target's probability that is spread over the vocabulary.
  ///   - weights: multiplies each token's loss and gradient; the weights themselves count as constants. It is called
  ///     for a few hundred tokens at a time.
  public func crossEntropy(
    _ hidden: Variable, _ targets: [Int32], smoothing: Double = 0, weights: TokenWeights? = nil
  ) -> LossSums {
    crossEntropy(hidden, targets, smoothing: smoothing, weightsByProbability: false, weights: weights)
  }

  func crossEntropy(
    _ hidden: Variable, _ targets: [Int32], smoothing: Double, weightsByProbability: Bool, weights: TokenWeights?
  ) -> LossSums {
    tape.linearCrossEntropy(
      hidden, head: model.head, targets: targets, gradientScale: gradientScale,
      softcap: model.configuration.logitSoftcap, smoothing: Float(smoothing),
      weighsByProbability: weightsByProbability, tokenWeights: weights)
  }
}

extension TrainingConfiguration {
  /// The loss that the method minimizes.
  var loss: any TrainingLoss {
    if method == .sft, let distillation { return DistillationLoss(distillation) }
    return method.settings?.loss ?? CrossEntropyLoss(smoothing: labelSmoothing, weightsByProbability: lossType == .dft)
  }
}
