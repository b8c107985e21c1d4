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

    static func += (a: inout Size, b: Size) {
      a.tokens += b.tokens
      a.targets += b.targets
      a.squares += b.squares
    }
  }

  /// Optimizer steps.
  package let steps: Int
  /// The batch of the most tokens.
  package private(set) var largest = Size()
  /// The batch with the most predicted tokens.
  package private(set) var mostTargets = 0
  /// All batches of all steps.
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
      }
    }
  }

  /// What a run with these settings makes of items of these sizes.
  package init(_ sizes: [Size], _ arguments: TrainingArguments) {
    let order = BatchOrder(itemCount: sizes.count, arguments)
    steps = arguments.totalSteps(stepsPerEpoch: order.stepsPerEpoch)
    var (counted, epoch) = (0, 0)
    while counted < steps, order.stepsPerEpoch > 0, epoch * sizes.count < Self.enoughItems {
      for step in order.steps(epoch: epoch) where counted < steps {
        for batch in step {
          var size = Size()
          for item in batch { size += sizes[item] }
          total += size
          mostTargets = max(mostTargets, size.targets)
          if size.tokens > largest.tokens { largest = size }
        }
        counted += 1
      }
      epoch += 1
    }
    let share = Double(steps) / Double(max(1, counted))
    total.tokens = Int(Double(total.tokens) * share)
    total.targets = Int(Double(total.targets) * share)
    total.squares *= share
  }
}
