/// The order in which training rows are visited: `train_sampling_strategy`.
public enum SamplingStrategy: String, Sendable, CaseIterable, Codable {
  /// A new permutation every epoch, the one `torch.randperm` draws from the seed.
  case random
  /// The order of the dataset.
  case sequential
}

/// The order in which a trainer visits the items, as `transformers.Trainer` with `accelerate`'s
/// `SeedableRandomSampler`: epoch e uses `torch.randperm` with the seed plus e.
///
/// An epoch's order depends only on the seed and the epoch, so a run can resume at any step.
public struct BatchOrder: Sendable, Hashable {
  /// The number of items in the training set: rows, or packs of rows.
  public let itemCount: Int
  /// The number of items per batch, on each rank.
  public let batchSize: Int
  /// Batches per optimizer step (gradient accumulation).
  public let accumulationSteps: Int
  /// The seed: `data_seed` if it is set, else `seed`.
  public let seed: UInt64
  /// Whether each epoch has a random order or that of the dataset.
  public let sampling: SamplingStrategy
  /// Whether an incomplete last batch is dropped.
  public let dropsLast: Bool
  /// How often each batch comes, one time right after the other.
  public let repeats: Int
  /// The processes that share each step; every one takes one of `ranks` consecutive batches, as accelerate's
  /// `BatchSamplerShard` distributes them.
  public let ranks: Int

  /// Creates an order. Sizes below 1 count as 1.
  public init(
    itemCount: Int, batchSize: Int, accumulationSteps: Int = 1, seed: UInt64 = 42, sampling: SamplingStrategy = .random,
    dropsLast: Bool = false, repeats: Int = 1, ranks: Int = 1
  ) {
    self.itemCount = max(0, itemCount)
    self.batchSize = max(1, ranks > 1 ? min(batchSize, Int(Int32.max)) : batchSize)
    self.accumulationSteps = max(1, accumulationSteps)
    self.seed = seed
    self.sampling = sampling
    self.dropsLast = dropsLast
    self.repeats = max(1, repeats)
    self.ranks = max(1, ranks)
  }

  /// The number of batches that each rank takes per epoch.
  public var batchesPerEpoch: Int {
    let batches = itemCount / batchSize + (dropsLast || itemCount % batchSize == 0 ? 0 : 1)
    return (batches / ranks + (dropsLast || batches % ranks == 0 ? 0 : 1)) * repeats
  }

  /// The number of optimizer steps per epoch. The last one may have fewer batches.
  public var stepsPerEpoch: Int {
    batchesPerEpoch / accumulationSteps + (batchesPerEpoch % accumulationSteps == 0 ? 0 : 1)
  }

  /// The item indices of an epoch in order.
  public func items(epoch: Int) -> [Int] {
    switch sampling {
    case .sequential: return Array(0..<itemCount)
    case .random:
      var random = TorchRandom(seed: seed &+ UInt64(truncatingIfNeeded: epoch))
      return random.permutation(itemCount)
    }
  }

  /// The optimizer steps of an epoch from step `first` on: the batches of each step, as item indices. With several
  /// ranks these are the batches of all of them; batch `i` belongs to rank `i % ranks`.
  public func steps(epoch: Int, from first: Int = 0) -> [[[Int]]] {
    let batches = batches(items(epoch: epoch)).flatMap { Array(repeating: $0, count: repeats) }
    let length = accumulationSteps * ranks
    return (min(max(0, first), stepsPerEpoch)..<stepsPerEpoch).map { step in
      Array(batches[step * length..<min(batches.count, (step + 1) * length)])
    }
  }

  /// The batches of an epoch. With several ranks their number is a multiple of `ranks`, and all are full: items from
  /// the start of the epoch fill them up (accelerate's `even_batches`).
  private func batches(_ items: [Int]) -> [[Int]] {
    let count = batchesPerEpoch / repeats * ranks
    if ranks == 1 {
      return (0..<count).map { Array(items[$0 * batchSize..<min(itemCount, ($0 + 1) * batchSize)]) }
    }
    return (0..<count).map { batch in
      (batch * batchSize..<(batch + 1) * batchSize).map { position in
        position < itemCount ? items[position] : items[(position - itemCount) % min(itemCount, ranks * batchSize)]
      }
    }
  }

  /// The epoch, and the step in it, that follow the first `done` steps of a run.
  public func position(after done: Int) -> (epoch: Int, step: Int) {
    stepsPerEpoch == 0 ? (0, 0) : (done / stepsPerEpoch, done % stepsPerEpoch)
  }
}
