/// The order in which training rows are visited: `train_sampling_strategy`.
public enum SamplingStrategy: String, Sendable, CaseIterable, Codable {
  /// A new permutation every epoch, the one `torch.randperm` draws from the seed.
  case random
  /// The order of the dataset.
  case sequential
}

/// In which order a trainer goes through the items, epoch after epoch, exactly as `transformers.Trainer` does with
/// `accelerate`'s `SeedableRandomSampler`: epoch e is `torch.randperm` under the seed plus e.
///
/// Orders are computed from the epoch's number alone, so a run can be taken up at any step.
public struct BatchOrder: Sendable, Hashable {
  /// The number of items.
  public let itemCount: Int
  /// Items a batch.
  public let batchSize: Int
  /// Batches a step, over which gradients are added up.
  public let accumulationSteps: Int
  /// `data_seed` if it is set, else `seed`.
  public let seed: UInt64
  /// How an epoch's order is drawn.
  public let sampling: SamplingStrategy
  /// Whether a last batch that is not full is left out.
  public let dropsLast: Bool

  /// An order of these parts; sizes below 1 count as 1.
  public init(
    itemCount: Int, batchSize: Int, accumulationSteps: Int = 1, seed: UInt64 = 42, sampling: SamplingStrategy = .random,
    dropsLast: Bool = false
  ) {
    self.itemCount = max(0, itemCount)
    self.batchSize = max(1, batchSize)
    self.accumulationSteps = max(1, accumulationSteps)
    self.seed = seed
    self.sampling = sampling
    self.dropsLast = dropsLast
  }

  /// Batches an epoch.
  public var batchesPerEpoch: Int { itemCount / batchSize + (dropsLast || itemCount % batchSize == 0 ? 0 : 1) }

  /// Optimizer steps an epoch; the last may have fewer batches than the others.
  public var stepsPerEpoch: Int {
    batchesPerEpoch / accumulationSteps + (batchesPerEpoch % accumulationSteps == 0 ? 0 : 1)
  }

  /// The items of an epoch in order.
  public func items(epoch: Int) -> [Int] {
    switch sampling {
    case .sequential: return Array(0..<itemCount)
    case .random:
      var random = TorchRandom(seed: seed &+ UInt64(truncatingIfNeeded: epoch))
      return random.permutation(itemCount)
    }
  }

  /// The steps of an epoch from number `first` on: each step's batches, each batch's item numbers.
  public func steps(epoch: Int, from first: Int = 0) -> [[[Int]]] {
    let items = items(epoch: epoch)
    let batches = (0..<batchesPerEpoch).map { Array(items[$0 * batchSize..<min(itemCount, ($0 + 1) * batchSize)]) }
    return (min(max(0, first), stepsPerEpoch)..<stepsPerEpoch).map { step in
      Array(batches[step * accumulationSteps..<min(batches.count, (step + 1) * accumulationSteps)])
    }
  }

  /// The epoch and the step in it that come after `done` steps of the run; resuming starts there.
  public func position(after done: Int) -> (epoch: Int, step: Int) {
    stepsPerEpoch == 0 ? (0, 0) : (done / stepsPerEpoch, done % stepsPerEpoch)
  }
}
