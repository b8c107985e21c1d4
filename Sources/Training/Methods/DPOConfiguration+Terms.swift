import Essentials

/// A completion as the loss of a pair sees it.
struct ScoredCompletion {
  /// The log-probability minus the reference's, and its derivative.
  var logRatio: Dual
  /// The number of its tokens.
  var length: Double
}

extension DPOConfiguration {
  /// The loss of one pair; not of `aot`, `aotUnpaired` and `sft`, which depend on the batch.
  func loss(_ type: LossType, _ chosen: ScoredCompletion, _ rejected: ScoredCompletion) -> Dual {
    let (a, b) = (chosen.logRatio, rejected.logRatio)
    let difference = beta * (score(a) - score(b))
    switch type {
    case .sigmoid: return -difference.logSigmoid
    case .hinge: return (1 - difference).positivePart
    case .ipo: return (perToken(chosen) - perToken(rejected) - 1 / (2 * beta)).squared
    case .sigmoidNorm: return -(beta * (perToken(chosen) - perToken(rejected))).logSigmoid
    case .exoPair:
      return difference.sigmoid * (difference.logSigmoid - log1p(-labelSmoothing))
        + (-difference).sigmoid * ((-difference).logSigmoid - log(labelSmoothing))
    case .ncaPair: return -(beta * a).logSigmoid - 0.5 * (-(beta * a)).logSigmoid - 0.5 * (-(beta * b)).logSigmoid
    case .robust:
      let sum = labelSmoothing * (-difference).logSigmoid - (1 - labelSmoothing) * difference.logSigmoid
      return 1 / (1 - 2 * labelSmoothing) * sum
    case .bcoPair: return -(beta * a).logSigmoid - (-(beta * b)).logSigmoid
    case .sppoHard: return (a - 0.5 / beta).squared + (b + 0.5 / beta).squared
    case .apoZero: return 1 - (beta * a).sigmoid + (beta * b).sigmoid
    case .apoDown: return (beta * a).sigmoid + (1 - (beta * (a - b)).sigmoid)
    case .discopop:
      let modulation = (1 / discopopTemperature * difference).sigmoid
      return -difference.logSigmoid * (1 - modulation) + (-difference).exponential * modulation
    case .aot, .aotUnpaired, .sft: return Dual(value: 0)
    }
  }

  /// The loss of a sorted pair of the `aot` losses.
  func transportLoss(_ difference: Dual) -> Dual {
    let scaled = beta * difference
    return (labelSmoothing - 1) * scaled.logSigmoid - labelSmoothing * (-scaled).logSigmoid
  }

  private func perToken(_ completion: ScoredCompletion) -> Dual {
    1 / max(1, completion.length) * score(completion.logRatio)
  }

  /// The derivative f′ of the divergence's generator at the probability ratio.
  private func score(_ logRatio: Dual) -> Dual {
    switch divergence {
    case .reverseKL: return logRatio
    case .forwardKL: return 1 - (-logRatio).exponential
    case .jensenShannon: return logRatio.logSigmoid + log(2)
    case .alpha:
      let power = alphaDivergenceCoefficient - 1
      // In the limit it is the reverse divergence.
      if abs(power) < 1e-6 { return logRatio }
      return 1 / power * ((power * logRatio).capped(at: 80).exponential - 1)
    }
  }
}
