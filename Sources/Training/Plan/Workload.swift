import Datasets

/// What a run computes, counted from its prepared rows.
package struct Workload: Sendable {
  /// Sums over the sequences of a batch, or of many.
  package struct Size: Sendable {
    package var tokens = 0
    /// Tokens that are predicted.
    package var targets = 0
    /// Σ n² over sequences of n tokens: what attention costs.
    package var squares = 0.0
    /// Sequences that are not empty.
    package var sequences = 0

    static func += (a: inout Size, b: Size) {
      a.tokens += b.tokens
      a.targets += b.targets
      a.squares += b.squares
      a.sequences += b.sequences
    }

    /// The same batch where all sequences begin with the same tokens, which go through the model once.
    func sharing(_ beginning: Int) -> Size {
      var size = self
      let others = max(0, sequences - 1)
      size.tokens -= others * beginning
      size.squares -= Double(others * beginning * beginning)
      return size
    }
  }

  /// Optimizer steps.
  package let steps: Int
  /// Tokens that all sequences begin with and that go through the model once a batch; 0 where nothing is shared.
  package let shared: Int
  /// Tokens of all steps, however often they are the same.
  package private(set) var tokens = 0
  /// The batch of the most tokens.
  package private(set) var largest = Size()
  /// The batch with the most predicted tokens.
  package private(set) var mostTargets = 0
  /// What goes through the model in all batches of all steps.
  package private(set) var total = Size()

  /// Orders of the same rows are drawn for further epochs as long as that is no work.
  private static let enoughItems = 300_000

  /// The sizes of a set's items.
  /// - Parameter maxLength: cuts sequences off, as if they had been prepared so.
  package static func itemSizes(_ set: TrainingSet, maxLength: Int = .max) -> [Size] {
    set.items.map { item in
      set.sequences(item).reduce(into: Size()) { size, sequence in
        var room = maxLength
        let pieces = sequence.map { piece in
          let piece = piece.prefix(room)
          room -= piece.count
          return piece
        }
        let tokens = pieces.reduce(0) { $0 + $1.count }
        size.tokens += tokens
        size.targets += set.targetCount(pieces)
        size.squares += Double(tokens) * Double(tokens)
        size.sequences += tokens > 0 ? 1 : 0
      }
    }
  }

  /// What a run with these settings makes of items of these sizes, whose sequences all begin with the same `shared`
  /// tokens.
  package init(_ sizes: [Size], _ configuration: TrainingConfiguration, shared: Int = 0) {
    self.shared = sizes.count > 1 && configuration.trainBatchSize > 1 ? shared : 0
    let order = BatchOrder(itemCount: sizes.count, configuration)
    steps = configuration.totalSteps(stepsPerEpoch: order.stepsPerEpoch)
    var (counted, epoch) = (0, 0)
    while counted < steps, order.stepsPerEpoch > 0, epoch * sizes.count < Self.enoughItems {
      for step in order.steps(epoch: epoch) where counted < steps {
        for batch in step {
          var size = Size()
          for item in batch { size += sizes[item] }
          tokens += size.tokens
          size = size.sharing(self.shared)
          total += size
          mostTargets = max(mostTargets, size.targets)
          if size.tokens > largest.tokens { largest = size }
        }
        counted += 1
      }
      epoch += 1
    }
    let share = Double(steps) / Double(max(1, counted))
    tokens = Int(Double(tokens) * share)
    total.tokens = Int(Double(total.tokens) * share)
    total.targets = Int(Double(total.targets) * share)
    total.squares *= share
  }
}
