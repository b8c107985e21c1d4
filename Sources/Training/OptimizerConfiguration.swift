import Diagnostics

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

  /// The optimizers, by the names that transformers gives them.
  public enum Kind: String, Sendable, CaseIterable, Codable {
    case adamWTorchFused = "adamw_torch_fused"
    case adamWTorch = "adamw_torch"
    case adamWHF = "adamw_hf"
    case adamWApexFused = "adamw_apex_fused"
    case pagedAdamW = "paged_adamw"
    case pagedAdamW32Bit = "paged_adamw_32bit"
    case adamW8Bit = "adamw_8bit"
    case adamWBnb8Bit = "adamw_bnb_8bit"
    case pagedAdamW8Bit = "paged_adamw_8bit"
    case sgd
    case adafactor
    case lion
    case lion32Bit = "lion_32bit"
    case lion8Bit = "lion_8bit"
    case pagedLion32Bit = "paged_lion_32bit"
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
  /// The update rule with these settings.
  /// - Throws: `SwiftletError` for settings that the optimizer does not have, or that contradict each other.
  package func updateRule() throws(SwiftletError) -> any UpdateRule {
    guard kind == .sgd || (momentum == 0 && dampening == 0 && !nesterov) else {
      throw SwiftletError.training(
        "`momentum`, `dampening` and `nesterov` belong to SGD, but the optimizer is \(kind.rawValue); leave them out")
    }
    if nesterov, momentum == 0 || dampening != 0 {
      throw SwiftletError.training("`nesterov` needs `momentum` and no `dampening`")
    }
    return switch kind {
    case .sgd: SGD(momentum: Float(momentum), dampening: Float(dampening), nesterov: nesterov)
    case .adafactor: Adafactor()
    case .lion, .lion32Bit, .lion8Bit, .pagedLion32Bit, .pagedLion8Bit:
      Lion(beta1: beta1, beta2: beta2, isEightBit: kind.isEightBit)
    case .adamWTorchFused, .adamWTorch, .adamWHF, .adamWApexFused, .pagedAdamW, .pagedAdamW32Bit, .adamW8Bit,
      .adamWBnb8Bit, .pagedAdamW8Bit:
      AdamW(beta1: beta1, beta2: beta2, epsilon: Float(epsilon), isEightBit: kind.isEightBit)
    }
  }
}
