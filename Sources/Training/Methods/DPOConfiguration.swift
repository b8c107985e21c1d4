import Diagnostics

/// Settings of direct preference optimization (DPO, arXiv:2305.18290), as TRL's `DPOConfig`.
public struct DPOConfiguration: MethodSettings, Hashable, Codable {
  /// A loss over pairs. ρ is the log-ratio of the trained and the reference model's probability of a completion.
  public enum LossType: String, Sendable, CaseIterable, Codable {
    /// −log σ(β Δρ) (arXiv:2305.18290).
    case sigmoid
    /// max(0, 1 − β Δρ) (SLiC, arXiv:2305.10425).
    case hinge
    /// (Δ(ρ per token) − 1/2β)² (IPO, arXiv:2310.12036).
    case ipo
    /// The Kullback-Leibler divergence from smoothed labels (EXO, arXiv:2402.00856).
    case exoPair = "exo_pair"
    /// Noise contrastive alignment of pairs (arXiv:2402.05369).
    case ncaPair = "nca_pair"
    /// Unbiased if `labelSmoothing` of the labels are flipped (arXiv:2403.00409).
    case robust
    /// Each completion classified by itself (BCO, arXiv:2404.04656).
    case bcoPair = "bco_pair"
    /// Self-play with hard labels (SPPO, arXiv:2405.00675).
    case sppoHard = "sppo_hard"
    /// Alignment by optimal transport of sorted pairs of a batch (arXiv:2406.05882).
    case aot
    /// The same with chosen and rejected completions sorted separately.
    case aotUnpaired = "aot_unpaired"
    /// Chosen up, rejected down (APO, arXiv:2408.06266).
    case apoZero = "apo_zero"
    /// Chosen down, rejected further down (APO, arXiv:2408.06266).
    case apoDown = "apo_down"
    /// A mixture of logistic and exponential loss (arXiv:2406.08414).
    case discopop
    /// The negative log-likelihood of the chosen completions.
    case sft
    /// −log σ(β Δ(ρ per token)).
    case sigmoidNorm = "sigmoid_norm"

    /// Whether it depends on the difference of the two scores alone, so that other divergences are defined.
    var supportsDivergences: Bool {
      switch self {
      case .sigmoid, .sigmoidNorm, .hinge, .ipo, .exoPair, .robust, .discopop, .sft: true
      default: false
      }
    }
  }

  /// What keeps the model close to its reference (f-DPO, arXiv:2309.16240).
  public enum Divergence: String, Sendable, CaseIterable, Codable {
    case reverseKL = "reverse_kl"
    case forwardKL = "forward_kl"
    case jensenShannon = "js_divergence"
    case alpha = "alpha_divergence"
  }

  /// The losses, which are added.
  public var lossTypes = [LossType.sigmoid]
  /// The weights of the losses; `nil` for 1 each.
  public var lossWeights: [Double]?
  /// The inverse temperature of the reward: larger values keep the model closer to the reference.
  public var beta = 0.1
  /// The share of flipped labels that `robust` and `exo_pair` assume, and that the `aot` losses smooth with.
  public var labelSmoothing = 0.0
  /// The divergence from the reference.
  public var divergence = Divergence.reverseKL
  /// The coefficient of the alpha divergence.
  public var alphaDivergenceCoefficient = 0.5
  /// The weight of the tokens beyond the length of the shorter completion (LD-DPO, arXiv:2409.06411); `nil` for 1.
  public var lengthDesensitization: Double?
  /// Whether pairs are weighted by the model's own probability of them (WPO, arXiv:2406.11827).
  public var usesWeighting = false
  /// The temperature of `discopop`.
  public var discopopTemperature = 0.05
  /// How the reference model is used.
  public var reference = ReferenceSettings()

  /// Creates settings with TRL's defaults.
  public init() {}

  package var loss: any TrainingLoss { DPOLoss(self) }
  package var rowKind: RowKind { .preferencePair }
  package var referenceSettings: ReferenceSettings? { reference }

  package func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String? {
    if lossTypes.isEmpty { return "`lossTypes` must name at least one loss" }
    if let lossWeights, lossWeights.count != lossTypes.count {
      return "`lossWeights` has \(lossWeights.count) weights for \(lossTypes.count) losses; give one for each"
    }
    if beta <= 0 { return "`beta` must be positive" }
    if divergence != .reverseKL, let other = lossTypes.first(where: { !$0.supportsDivergences }) {
      return "`divergence` \(divergence.rawValue) is not defined for the loss \(other.rawValue); use reverse_kl"
    }
    if usesWeighting, let other = lossTypes.first(where: { $0 == .aot || $0 == .aotUnpaired }) {
      return "`usesWeighting` cannot be combined with the loss \(other.rawValue), which sorts the pairs"
    }
    if lossTypes.contains(.robust), !(0..<0.5).contains(labelSmoothing) {
      return "the loss robust needs a `labelSmoothing` from 0 to below 0.5"
    }
    if lossTypes.contains(.exoPair), !(labelSmoothing > 0 && labelSmoothing < 1) {
      return "the loss exo_pair needs a `labelSmoothing` above 0 and below 1, such as 0.001"
    }
    return reference.problem(trainsAdapter: trainsAdapter)
  }
}
