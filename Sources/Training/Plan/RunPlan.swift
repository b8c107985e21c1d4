/// The memory and time that a run will need.
public struct RunPlan: Sendable {
  /// The peak memory, by purpose.
  public let memory: MemoryEstimate
  /// The machine's memory before the run.
  public let system: SystemMemory
  /// The number of optimizer steps.
  public let steps: Int
  /// The number of tokens in all batches.
  public let tokens: Int
  /// The number of optimizer steps per epoch.
  public let stepsPerEpoch: Int
  /// The number of tokens per epoch.
  public let tokensPerEpoch: Int
  /// The number of tokens of the largest batch.
  public let largestBatch: Int
  /// The number of tokens that all rows begin with, which are computed once per batch; 0 if there are none.
  public let sharedPrefix: Int
  /// The processes that share the run.
  public var ranks = 1
  /// What they exchange in each step; `nil` if no network was given.
  public var exchange: ExchangeEstimate?
  /// The time it takes; `nil` if nothing was measured.
  public var time: Time?
  /// What each change of the settings would give.
  public var alternatives: [Alternative] = []

  /// Times in seconds, predicted from a measurement of about one second.
  public struct Time: Sendable {
    /// The mean time of a step, the exchange among the ranks included.
    public let step: Double
    /// The time of the whole run, without evaluations and checkpoints.
    public let total: Double
    /// The measured rate of the layers' forward and backward pass, in operations per second.
    public let operationsPerSecond: Double
  }

  /// Settings to change, each enough to save memory by itself.
  public enum Change: Sendable, Hashable {
    /// `trainBatchSize` and `gradientAccumulationSteps`, so that a step still learns from the same rows.
    case batch(size: Int, accumulation: Int)
    /// `checkpointing = .always`: recompute the activations of all layers.
    case checkpointing
    /// Another `optimizer`, with 8-bit moments.
    case optimizer(OptimizerConfiguration.Kind)
    /// Quantize the base model to 4 bits.
    case quantization
    /// A lower `maxLength`, in tokens.
    case maxLength(Int)
  }

  /// What one change of the settings would give.
  public struct Alternative: Sendable {
    /// The settings to change, and their new values.
    public let change: Change
    /// The memory with the change.
    public let memory: MemoryEstimate
    /// The mean time of a step with the change, if time was measured.
    public let secondsPerStep: Double?
    /// Whether the run fits with the change.
    public let fits: Bool
    /// Whether the change affects the result by more than rounding.
    public let changesResult: Bool
  }

  /// The part of a step's time that is not spent waiting for the exchange; `nil` if either was not predicted.
  public var efficiency: Double? {
    guard let exchange, let time else { return nil }
    return 1 - exchange.exposed / max(time.step, 1e-12)
  }

  /// Whether the run fits in memory.
  public var fits: Bool { memory.needed <= system.reachable }

  /// The change to make if the run does not fit: the first that suffices, preferably one that does not affect the
  /// result.
  public var remedy: Alternative? {
    guard !fits else { return nil }
    return alternatives.first { $0.fits && !$0.changesResult } ?? alternatives.first { $0.fits }
  }
}
