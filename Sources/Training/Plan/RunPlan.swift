/// What a run will need before it begins: memory, and, if measured, time.
public struct RunPlan: Sendable {
  /// The memory at its peak.
  public let memory: MemoryEstimate
  /// The machine's memory before the run.
  public let system: SystemMemory
  /// Optimizer steps.
  public let steps: Int
  /// Tokens of all steps.
  public let tokens: Int
  /// Tokens of the largest batch that go through the model.
  public let largestBatch: Int
  /// Tokens that all rows begin with and that go through the model once a batch; 0 where nothing is shared.
  public let sharedPrefix: Int
  /// How long it takes; `nil` where nothing was measured.
  public var time: Time?
  /// What one change of the settings would give.
  public var alternatives: [Alternative] = []

  /// Seconds, by a measurement of about one second.
  public struct Time: Sendable {
    /// A step, on average.
    public let step: Double
    /// The whole run, without evaluation and checkpoints.
    public let total: Double
    /// The measured rate of the layers' products, in operations a second.
    public let operationsPerSecond: Double
  }

  /// Settings to change, each enough to save memory by itself.
  public enum Change: Sendable, Hashable {
    /// `trainBatchSize` and `gradientAccumulationSteps`, so that a step still learns from the same rows.
    case batch(size: Int, accumulation: Int)
    /// `checkpointing = .always`.
    case checkpointing
    /// `optimizer`.
    case optimizer(OptimizerConfiguration.Kind)
    /// Quantize the base model to 4 bits.
    case quantization
    /// `maxLength`.
    case maxLength(Int)
  }

  /// What one change of the settings would give.
  public struct Alternative: Sendable {
    /// The settings to change.
    public let change: Change
    /// The memory with it.
    public let memory: MemoryEstimate
    /// A step's time with it, where time was measured.
    public let secondsPerStep: Double?
    /// Whether the run then fits.
    public let fits: Bool
    /// Whether it changes what is learned, beyond rounding.
    public let changesResult: Bool
  }

  /// Whether the machine has the memory.
  public var fits: Bool { memory.needed <= system.reachable }

  /// The change to make where the run does not fit: the first that suffices, those that leave the result as it is
  /// before the others.
  public var remedy: Alternative? {
    guard !fits else { return nil }
    return alternatives.first { $0.fits && !$0.changesResult } ?? alternatives.first { $0.fits }
  }
}
