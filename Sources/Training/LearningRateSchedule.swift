import Essentials
import OrderedJSON

/// The learning rate over a run. Adopt it to train with a schedule of your own.
///
/// ```swift
/// /// Halves the rate every hundred steps.
/// struct Halving: Schedule {
///   func rate(at step: Int, of totalSteps: Int) -> Double { 1e-3 * pow(0.5, Double(step / 100)) }
/// }
/// ```
public protocol Schedule: Sendable {
  /// The learning rate of optimizer step `step`, counted from 0, in a run of `totalSteps`.
  func rate(at step: Int, of totalSteps: Int) -> Double
}

extension LearningRateSchedule: Schedule {
  /// The learning rate of optimizer step `step`. The length of the run was given at creation.
  public func rate(at step: Int, of totalSteps: Int) -> Double { rate(at: step) }
}

/// The learning rate of every optimizer step, as the schedules in transformers' `optimization.py` compute it.
public struct LearningRateSchedule: Sendable, Hashable {
  /// The schedules, by the names that transformers gives them (`lr_scheduler_type`).
  public enum Kind: String, Sendable, CaseIterable, Codable {
    /// Falls from the peak to 0, along a line or half a cosine.
    case linear, cosine
    /// Falls along half a cosine several times, and jumps back to the peak in between.
    case cosineWithRestarts = "cosine_with_restarts"
    /// Falls to a final rate along a power of the remaining steps; or stays at the peak, without warmup.
    case polynomial, constant
    /// Stays at the peak after warmup.
    case constantWithWarmup = "constant_with_warmup"
    /// Falls with the inverse square root of the steps.
    case inverseSqrt = "inverse_sqrt"
    /// Falls along half a cosine to a minimum above 0.
    case cosineWithMinLR = "cosine_with_min_lr"
    /// The same, with a warmup that starts above 0.
    case cosineWarmupWithMinLR = "cosine_warmup_with_min_lr"
    /// Stays at the peak, then decays in the last steps (WSD).
    case warmupStableDecay = "warmup_stable_decay"
  }

  /// The shape of a rise or fall in `warmup_stable_decay`.
  public enum Shape: String, Sendable, CaseIterable, Codable {
    /// A line, or half a cosine.
    case linear, cosine
    /// 1 − √progress in decay, and mirrored in warmup.
    case oneMinusSqrt = "1-sqrt"
  }

  /// The contents of `lr_scheduler_kwargs`. Each schedule reads its own members; `nil` means its default.
  public struct Options: Sendable, Hashable, Codable {
    /// Cosine cycles: 0.5 falls once from the peak to the floor. `cosine_with_restarts` counts whole cycles.
    public var numCycles: Double?
    /// The exponent of `polynomial` (default 1).
    public var power: Double?
    /// The final rate of `polynomial` (default 1e-7).
    public var lrEnd: Double?
    /// The lowest rate of the cosine schedules that have a floor.
    public var minLR: Double?
    /// The lowest rate as a fraction of the peak.
    public var minLRRate: Double?
    /// The first rate of `cosine_warmup_with_min_lr`, as a fraction of the peak.
    public var warmupLRRate: Double?
    /// The time scale of `inverse_sqrt` in steps (default: the warmup steps, or 10,000 without warmup).
    public var timescale: Int?
    /// The decay steps of `warmup_stable_decay`, which requires them.
    public var numDecaySteps: Int?
    /// The steps at the peak in `warmup_stable_decay` (default: all that remain).
    public var numStableSteps: Int?
    /// The warmup shape of `warmup_stable_decay` (default linear).
    public var warmupType: Shape?
    /// The decay shape of `warmup_stable_decay` (default cosine).
    public var decayType: Shape?
    /// The floor of `warmup_stable_decay` as a fraction of the peak (default 0).
    public var minLRRatio: Double?

    /// Creates options that leave every schedule at its defaults.
    public init() {}
  }

  /// The shape of the schedule.
  public let kind: Kind
  /// The peak learning rate, which warmup reaches.
  public let peak: Double
  /// The number of warmup steps.
  public let warmupSteps: Int
  /// The number of optimizer steps of the run.
  public let totalSteps: Int
  /// The settings that only some schedules have.
  public let options: Options

  /// A schedule for a run of `totalSteps` optimizer steps. Options that do not suit the schedule fall back to their
  /// defaults; `Options.problem(for:peak:)` reports them.
  public init(_ kind: Kind, peak: Double, warmupSteps: Int, totalSteps: Int, options: Options = Options()) {
    self.kind = kind
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
    self.options = options
  }

  /// The schedule of a configuration, for a run of `totalSteps` optimizer steps.
  public init(_ training: TrainingConfiguration, totalSteps: Int) {
    self.init(
      training.scheduler, peak: training.learningRate, warmupSteps: training.warmupStepCount(ofTotal: totalSteps),
      totalSteps: totalSteps, options: training.schedulerOptions)
  }

  /// The learning rate of optimizer step `step`, counted from 0.
  public func rate(at step: Int) -> Double { peak * factor(at: step) }

  /// The learning rate as a fraction of the peak.
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

  /// A cosine that starts at 1 and completes `cycles` cycles while `progress` goes from 0 to 1.
  private static func wave(_ cycles: Double, _ progress: Double) -> Double {
    0.5 * (1 + cos(.pi * cycles * 2 * progress))
  }

  /// Unlike the others, this schedule counts steps from 1, so neither the first nor the last rate is zero.
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
  /// What is wrong with these options for a schedule, as the rest of a sentence about them; `nil` if nothing is.
  public func problem(for kind: LearningRateSchedule.Kind, peak: Double) -> String? {
    switch kind {
    case .cosineWithMinLR, .cosineWarmupWithMinLR:
      guard (minLR == nil) != (minLRRate == nil) else {
        return "must contain either min_lr or min_lr_rate for \(kind.rawValue)"
      }
    case .polynomial where (lrEnd ?? 1e-7) >= peak:
      return "must contain an lr_end below the learning rate (got \((lrEnd ?? 1e-7).pythonText))"
    case .warmupStableDecay where numDecaySteps == nil:
      return "must contain num_decay_steps for \(kind.rawValue)"
    case .inverseSqrt where (timescale ?? 1) < 1:
      return "must contain a timescale of at least 1"
    default: break
    }
    return nil
  }
}
