import Foundation
import OrderedJSON

/// The learning rate of every optimizer step, as the schedules of transformers' `optimization.py` compute it.
public struct LearningRateSchedule: Sendable, Hashable {
  /// transformers' names of the curves (`lr_scheduler_type`).
  public enum Kind: String, Sendable, CaseIterable {
    case linear, cosine
    case cosineWithRestarts = "cosine_with_restarts"
    case polynomial, constant
    case constantWithWarmup = "constant_with_warmup"
    case inverseSqrt = "inverse_sqrt"
    case cosineWithMinLR = "cosine_with_min_lr"
    case cosineWarmupWithMinLR = "cosine_warmup_with_min_lr"
    case warmupStableDecay = "warmup_stable_decay"
  }

  /// How the rate rises or falls between two levels in `warmup_stable_decay`.
  public enum Shape: String, Sendable, CaseIterable {
    case linear, cosine
    case oneMinusSqrt = "1-sqrt"
  }

  /// What `lr_scheduler_kwargs` may hold; each curve reads its own, and `nil` stands for that curve's default.
  public struct Options: Sendable, Hashable {
    /// Waves of a cosine: 0.5 falls once from peak to floor; restarts count whole ones from 1.
    public var numCycles: Double?
    /// The exponent of `polynomial` (1).
    public var power: Double?
    /// The last rate of `polynomial` (1e-7).
    public var lrEnd: Double?
    /// The lowest rate of a cosine with a floor.
    public var minLR: Double?
    /// The same, as a share of the peak.
    public var minLRRate: Double?
    /// The first rate of `cosine_warmup_with_min_lr`, as a share of the peak.
    public var warmupLRRate: Double?
    /// The time scale of `inverse_sqrt` in steps (the warm-up, or 10,000 without one).
    public var timescale: Int?
    /// The steps of falling in `warmup_stable_decay`, which needs them.
    public var numDecaySteps: Int?
    /// The steps at the peak in `warmup_stable_decay` (all that is left).
    public var numStableSteps: Int?
    /// How `warmup_stable_decay` rises (linear).
    public var warmupType: Shape?
    /// How `warmup_stable_decay` falls (cosine).
    public var decayType: Shape?
    /// The floor of `warmup_stable_decay` as a share of the peak (0).
    public var minLRRatio: Double?

    /// Every curve's defaults.
    public init() {}
  }

  /// The curve.
  public let kind: Kind
  /// The peak rate.
  public let peak: Double
  /// The optimizer steps of warm-up.
  public let warmupSteps: Int
  /// The optimizer steps of the whole run.
  public let totalSteps: Int
  /// What the curve takes beyond these.
  public let options: Options

  /// A schedule for a run of `totalSteps` optimizer steps. Call `Options.problem(for:peak:)` first to refuse options
  /// that do not suit the curve; here they fall back to the defaults.
  public init(_ kind: Kind, peak: Double, warmupSteps: Int, totalSteps: Int, options: Options = Options()) {
    self.kind = kind
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
    self.options = options
  }

  /// The schedule that a recipe asks for in a run of `totalSteps` optimizer steps.
  public init(_ training: TrainingArguments, totalSteps: Int) {
    self.init(
      training.scheduler, peak: training.learningRate, warmupSteps: training.warmupStepCount(ofTotal: totalSteps),
      totalSteps: totalSteps, options: training.schedulerOptions)
  }

  /// The rate that optimizer step `step`, counted from 0, is taken with.
  public func rate(at step: Int) -> Double { peak * factor(at: step) }

  /// The rate as a share of the peak.
  public func factor(at step: Int) -> Double {
    switch kind {
    case .constant: return 1
    case .warmupStableDecay: return warmupStableDecay(step)
    case .cosineWarmupWithMinLR: return cosineWithRaisedEnds(step)
    default: break
    }
    if step < warmupSteps { return Double(step) / Double(max(1, warmupSteps)) }
    let progress = Double(step - warmupSteps) / Double(max(1, totalSteps - warmupSteps))
    switch kind {
    case .linear: return max(0, Double(totalSteps - step) / Double(max(1, totalSteps - warmupSteps)))
    case .cosine: return max(0, Self.wave(options.numCycles ?? 0.5, progress))
    case .cosineWithRestarts:
      if progress >= 1 { return 0 }
      let phase = (options.numCycles ?? 1) * progress
      return max(0, 0.5 * (1 + cos(.pi * phase.truncatingRemainder(dividingBy: 1))))
    case .cosineWithMinLR: return max(0, raised(Self.wave(options.numCycles ?? 0.5, progress), to: cosineFloor))
    case .polynomial:
      let end = options.lrEnd ?? 1e-7
      if step > totalSteps || totalSteps == warmupSteps { return end / peak }
      return ((peak - end) * pow(1 - progress, options.power ?? 1) + end) / peak
    case .inverseSqrt:
      let timescale = options.timescale ?? (warmupSteps > 0 ? warmupSteps : 10_000)
      return 1 / (Double(step + timescale - warmupSteps) / Double(timescale)).squareRoot()
    default: return 1
    }
  }

  private var cosineFloor: Double { options.minLR.map { $0 / peak } ?? options.minLRRate ?? 0 }

  private func raised(_ factor: Double, to floor: Double) -> Double { factor * (1 - floor) + floor }

  /// From 1 at `progress` 0 down and up again `cycles` times until `progress` 1.
  private static func wave(_ cycles: Double, _ progress: Double) -> Double {
    0.5 * (1 + cos(.pi * cycles * 2 * progress))
  }

  /// The only curve that counts steps from 1, so that neither the first nor the last rate is zero.
  private func cosineWithRaisedEnds(_ step: Int) -> Double {
    if step < warmupSteps {
      guard let start = options.warmupLRRate else { return Double(step + 1) / Double(max(1, warmupSteps)) }
      return start + (1 - start) * Double(step) / Double(max(1, warmupSteps - 1))
    }
    let progress = Double(step - warmupSteps + 1) / Double(max(1, totalSteps - warmupSteps))
    return max(0, raised(Self.wave(options.numCycles ?? 0.5, progress), to: cosineFloor))
  }

  private func warmupStableDecay(_ step: Int) -> Double {
    let floor = options.minLRRatio ?? 0
    let decaySteps = options.numDecaySteps ?? 0
    let stableSteps = options.numStableSteps ?? (totalSteps - warmupSteps - decaySteps)
    if step < warmupSteps {
      let progress = Double(step) / Double(max(1, warmupSteps))
      let rise =
        switch options.warmupType ?? .linear {
        case .linear: progress
        case .cosine: 0.5 * (1 - cos(.pi * progress))
        case .oneMinusSqrt: 1 - (1 - progress).squareRoot()
        }
      return max(0, raised(rise, to: floor))
    }
    if step < warmupSteps + stableSteps { return 1 }
    if step >= warmupSteps + stableSteps + decaySteps { return floor }
    let progress = Double(step - warmupSteps - stableSteps) / Double(max(1, decaySteps))
    let fall =
      switch options.decayType ?? .cosine {
      case .linear: 1 - progress
      case .cosine: Self.wave(options.numCycles ?? 0.5, progress)
      case .oneMinusSqrt: 1 - progress.squareRoot()
      }
    return max(0, raised(fall, to: floor))
  }
}

extension LearningRateSchedule.Options {
  /// Why these options do not suit a curve, after "lr_scheduler_kwargs"; `nil` where they do.
  public func problem(for kind: LearningRateSchedule.Kind, peak: Double) -> String? {
    switch kind {
    case .cosineWithMinLR, .cosineWarmupWithMinLR:
      guard (minLR == nil) != (minLRRate == nil) else {
        return "has to hold either min_lr or min_lr_rate for \(kind.rawValue)"
      }
    case .polynomial where (lrEnd ?? 1e-7) >= peak:
      return "has an lr_end (\((lrEnd ?? 1e-7).pythonText)) that is not below the learning rate"
    case .warmupStableDecay where numDecaySteps == nil:
      return "has to hold num_decay_steps for \(kind.rawValue)"
    case .inverseSqrt where (timescale ?? 1) < 1:
      return "has a timescale below 1"
    default: break
    }
    return nil
  }
}
