import Diagnostics
import Tensors

/// The optimizer and its settings. Which settings apply depends on `kind`.
public struct OptimizerConfiguration: Sendable, Hashable, Codable {
  /// The optimizer, which determines which settings apply.
  public var kind = Kind.adamWTorchFused
  /// Decoupled weight decay. It does not apply to biases and norms.
  public var weightDecay = 0.0
  /// The decay rate of the first moment, for AdamW and Lion.
  public var beta1 = 0.9
  /// The decay rate of the second moment, for AdamW and Lion.
  public var beta2 = 0.999
  /// The term added to AdamW's denominator.
  public var epsilon = 1e-8
  /// The decay rate of SGD's running sum of gradients.
  public var momentum = 0.0
  /// The share of a gradient that does not enter SGD's running sum.
  public var dampening = 0.0
  /// Whether SGD uses Nesterov momentum, which needs momentum and no dampening.
  public var nesterov = false

  /// By what the learning rate of LoRA's B is multiplied (LoRA+, arXiv:2402.12354).
  public var loraPlusRatio: Double?

  /// Creates AdamW with PyTorch's defaults.
  public init() {}

  /// An optimizer of this kind, with its defaults.
  public init(_ kind: Kind) { self.kind = kind }

  /// The optimizers, by the names that transformers gives them; `muon` by axolotl's.
  public enum Kind: String, Sendable, CaseIterable, Codable {
    /// AdamW with float32 moments. The implementations that transformers distinguishes are the same here.
    case adamWTorchFused = "adamw_torch_fused"
    /// The same as `adamWTorchFused`.
    case adamWTorch = "adamw_torch"
    /// The same as `adamWTorchFused`.
    case adamWHF = "adamw_hf"
    /// The same as `adamWTorchFused`.
    case adamWApexFused = "adamw_apex_fused"
    /// AdamW with float32 moments that the system can page out to disk.
    case pagedAdamW = "paged_adamw"
    /// The same as `pagedAdamW`.
    case pagedAdamW32Bit = "paged_adamw_32bit"
    /// AdamW with 8-bit moments (Dettmers et al. 2021, arXiv:2110.02861).
    case adamW8Bit = "adamw_8bit"
    /// The same as `adamW8Bit`.
    case adamWBnb8Bit = "adamw_bnb_8bit"
    /// AdamW with 8-bit moments that the system can page out to disk.
    case pagedAdamW8Bit = "paged_adamw_8bit"
    /// Stochastic gradient descent, with momentum if `momentum` is set.
    case sgd
    /// Adafactor without relative step sizes and without a first moment.
    case adafactor
    /// Muon for matrices; AdamW for embeddings, output layers and vectors. Momentum is 0.95.
    case muon
    /// Schedule-free AdamW (arXiv:2405.15682). Averages of the weights are evaluated and saved.
    case scheduleFreeAdamW = "schedule_free_adamw"
    /// Lion with a float32 moment.
    case lion
    /// The same as `lion`.
    case lion32Bit = "lion_32bit"
    /// Lion with an 8-bit moment.
    case lion8Bit = "lion_8bit"
    /// Lion with a float32 moment that the system can page out to disk.
    case pagedLion32Bit = "paged_lion_32bit"
    /// Lion with an 8-bit moment that the system can page out to disk.
    case pagedLion8Bit = "paged_lion_8bit"

    /// Whether moments are stored in 8 bits.
    public var isEightBit: Bool { rawValue.hasSuffix("8bit") }
    /// Whether the state is in a file that the system may page out.
    public var isPaged: Bool { rawValue.hasPrefix("paged_") }

    /// The same update rule with 8-bit moments, if there is one.
    package var inEightBits: Kind? {
      switch self {
      case .adamWTorchFused, .adamWTorch, .adamWHF, .adamWApexFused: .adamW8Bit
      case .lion, .lion32Bit: .lion8Bit
      default: nil
      }
    }
  }
}

extension OptimizerConfiguration {
  /// The update rule of each of these parameters, unless a rule replaces all of them.
  /// - Throws: `SwiftletError` for settings that the optimizer does not have, or that contradict each other.
  func updateRules(
    for parameters: [Parameter], replacedBy replacement: (any UpdateRule)?
  ) throws(SwiftletError) -> [any UpdateRule] {
    // Contradictory settings are an error even if there is nothing to update.
    if replacement == nil { _ = try updateRule() }
    var rules: [any UpdateRule] = []
    for parameter in parameters {
      let rule =
        if let replacement { replacement } else { try updateRule(for: parameter.name, shape: parameter.value.shape) }
      rules.append(rule)
    }
    return rules
  }

  /// The update rule with these settings.
  /// - Parameters:
  ///   - parameter: the name of the parameter to update. As in transformers' trainer, 8-bit moments are not for
  ///     embeddings, whose gradients are large for a few rows and zero for the others.
  ///   - shape: the parameter's.
  /// - Throws: `SwiftletError` for settings that the optimizer does not have, or that contradict each other.
  package func updateRule(for parameter: String = "", shape: [Int] = []) throws(SwiftletError) -> any UpdateRule {
    let isEightBit = kind.isEightBit && !parameter.hasSuffix("embed_tokens.weight")
    guard kind == .sgd || (momentum == 0 && dampening == 0 && !nesterov) else {
      throw SwiftletError.training(
        "`momentum`, `dampening` and `nesterov` belong to SGD, but the optimizer is \(kind.rawValue); leave them out")
    }
    if kind == .scheduleFreeAdamW, beta1 <= 0 {
      throw SwiftletError.training("schedule_free_adamw divides by `adamBeta1`, which must be above 0")
    }
    if nesterov, momentum == 0 || dampening != 0 {
      throw SwiftletError.training("`nesterov` needs `momentum` and no `dampening`; set `momentum`, or leave it out")
    }
    return switch kind {
    case .sgd: SGD(momentum: Float(momentum), dampening: Float(dampening), nesterov: nesterov)
    case .adafactor: Adafactor()
    case .scheduleFreeAdamW: ScheduleFreeAdamW(beta1: beta1, beta2: beta2, epsilon: Float(epsilon))
    case .muon where Muon.applies(to: parameter, shape): Muon()
    case .lion, .lion32Bit, .lion8Bit, .pagedLion32Bit, .pagedLion8Bit:
      Lion(beta1: beta1, beta2: beta2, isEightBit: isEightBit)
    case .adamWTorchFused, .adamWTorch, .adamWHF, .adamWApexFused, .pagedAdamW, .pagedAdamW32Bit, .adamW8Bit,
      .adamWBnb8Bit, .pagedAdamW8Bit, .muon:
      AdamW(beta1: beta1, beta2: beta2, epsilon: Float(epsilon), isEightBit: isEightBit)
    }
  }
}
