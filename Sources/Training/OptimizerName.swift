import Diagnostics

/// transformers' names of the optimizers that exist here.
public enum OptimizerName: String, Sendable, CaseIterable {
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

  /// Whether moments are held in 8 bits.
  public var isEightBit: Bool { rawValue.hasSuffix("8bit") }
  /// The optimizer with the same rule and moments in 8 bits, if there is one.
  package var inEightBits: OptimizerName? {
    switch self {
    case .adamWTorchFused, .adamWTorch, .adamWHF, .adamWApexFused: .adamW8Bit
    case .lion, .lion32Bit: .lion8Bit
    default: nil
    }
  }
  /// Whether the state lies in a file that the system may page out.
  public var isPaged: Bool { rawValue.hasPrefix("paged_") }
}

extension TrainingArguments {
  /// The update rule that the settings ask for.
  /// - Throws: `SwiftletError` for options that the optimizer does not take.
  func updateRule() throws(SwiftletError) -> any UpdateRule {
    if let sgdOptions {
      guard optimizer == .sgd else {
        throw SwiftletError.training(
          "`sgdOptions` belongs to sgd, but the optimizer is \(optimizer.rawValue); leave it out")
      }
      return SGD(options: sgdOptions)
    }
    return switch optimizer {
    case .sgd: SGD(options: SGDOptions())
    case .adafactor: Adafactor()
    case .lion, .lion32Bit, .lion8Bit, .pagedLion32Bit, .pagedLion8Bit:
      Lion(beta1: adamBeta1, beta2: adamBeta2, inBytes: optimizer.isEightBit)
    case .adamWTorchFused, .adamWTorch, .adamWHF, .adamWApexFused, .pagedAdamW, .pagedAdamW32Bit, .adamW8Bit,
      .adamWBnb8Bit, .pagedAdamW8Bit:
      AdamW(beta1: adamBeta1, beta2: adamBeta2, epsilon: Float(adamEpsilon), inBytes: optimizer.isEightBit)
    }
  }
}
