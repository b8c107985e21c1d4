import Models
import Tensors

/// The auxiliary losses of the routers of a mixture of experts, of one batch.
final class RouterLosses {
  /// The derivative of what training minimizes by such a loss; 0 if it isn't minimized.
  private let gradientScale: Double
  /// What such a loss counts in the sum of the batch's losses.
  private let weight: Double
  private var losses: [RouterLoss] = []

  init(gradientScale: Double, weight: Double) {
    self.gradientScale = gradientScale
    self.weight = weight
  }

  /// The loss of a pass of these batches through the model.
  func loss(of batches: [TokenBatch], on backend: any Backend) -> RouterLoss {
    let loss = RouterLoss(counts: batches.flatMap(\.sequenceCounts), gradientScale: gradientScale, on: backend)
    losses.append(loss)
    return loss
  }

  /// Adds the losses of all passes so far.
  func add(to sums: inout LossSums) {
    for loss in losses { sums.add(loss, weight: weight) }
  }
}

extension TrainingConfiguration {
  /// How much the routers' auxiliary loss counts for a model with these experts; 0 if it has no part in the run.
  package func routerLossCoefficient(_ experts: TransformerConfiguration.Experts?) -> Double {
    guard let experts, hasRouterLoss else { return 0 }
    if let routerLossCoefficient { return routerLossCoefficient }
    switch method {
    // Here TRL only does what the model's configuration says.
    case .orpo, .cpo: return experts.returnsRouterLogits ? experts.routerLossCoefficient : 0
    default: return experts.routerLossCoefficient
    }
  }

  /// Whether the method has a part for that loss.
  private var hasRouterLoss: Bool { !method.scoresSequences && distillation == nil }

  /// Whether that loss is minimized, not just reported: TRL leaves it out when it smooths labels.
  var minimizesRouterLoss: Bool { method != .sft || labelSmoothing == 0 }

  /// Why `routerLossCoefficient` cannot be honored, naming members in backticks; `nil` if it can.
  package func routerLossProblem(_ experts: TransformerConfiguration.Experts?) -> String? {
    guard let coefficient = routerLossCoefficient, coefficient != 0 else { return nil }
    if !coefficient.isFinite { return "`routerLossCoefficient` must be a number" }
    if experts == nil {
      return "`routerLossCoefficient` needs a mixture of experts, but the model is none; leave it out"
    }
    if distillation != nil { return "`routerLossCoefficient` has no part in distillation; leave it out" }
    return hasRouterLoss ? nil : "`routerLossCoefficient` has no part in \(method.name.rawValue); leave it out"
  }
}
