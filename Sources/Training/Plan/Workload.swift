import Datasets

/// The amount of work of a run, counted from its prepared rows.
package struct Workload: Sendable {
  /// Sums over the sequences of one or more batches.
  package struct Size: Sendable {
    package var tokens = 0
    /// Predicted tokens.
    package var targets = 0
    /// Σ n² over sequences of n tokens, to which the cost of attention is proportional.
    package var squares = 0.0
    /// Sequences that are not empty.
    package var sequences = 0

    /// The size of nothing.
    package init() {}

    static func += (a: inout Size, b: Size) {
      a.tokens += b.tokens
      a.targets += b.targets
      a.squares += b.squares
      a.sequences += b.sequences
    }

    /// The size of the same batch if the model computes a prefix that all sequences share only once.
    func sharing(_ prefix: Int) -> Size {
      var size = self
      let others = max(0, sequences - 1)
      size.tokens -= others * prefix
      size.squares -= Double(others * prefix * prefix)
      return size
    }
  }

  /// The number of optimizer steps.
  package let steps: Int
  /// The number of tokens that all sequences begin with, which are computed once per batch; 0 if there are none.
  package let shared: Int
  /// The number of tokens in all batches, shared or not.
  package private(set) var tokens = 0
  /// The batch with the most tokens.
  package private(set) var largest = Size()
  /// The batch with the most predicted tokens.
  package private(set) var mostTargets = 0
  /// The tokens that the model of each rank computes in all steps.
  package private(set) var total = Size()

  /// Epochs are counted until this many items; the rest of the run is extrapolated.
  private static let enoughItems = 300_000

  /// The sizes of the items of a set.
  /// - Parameters:
  ///   - maxLength: truncates sequences, as if they had been prepared with this maximum length.
  ///   - sharesPrompts: whether the prompt that the sequences of an item have in common is computed once.
  package static func itemSizes(
    _ set: TrainingSet, maxLength: Int = .max, sharesPrompts: Bool = false
  ) -> [Size] {
    set.items.map { item in
      let size = size(of: item, set, maxLength: maxLength)
      return sharesPrompts ? size.sharing(min(set.commonPrompt(item), maxLength - 1)) : size
    }
  }

  /// The sizes of prompts' groups of completions, all of the maximum length, as each of the batches has a share in them that
  /// are sampled together.
  static func groupSizes(
    _ prompts: [Size], _ settings: GRPOConfiguration, batches: Int, forValidation: Bool = false, sharesPrompts: Bool
  ) -> [Size] {
    let group = settings.groupSize(forValidation: forValidation)
    let length = settings.maxCompletionLength
    // Completions of a prompt are spread over the batches.
    let copies = sharesPrompts ? min(group, batches) : group
    return prompts.map { prompt in
      let whole = Double(prompt.tokens + length)
      var size = Size()
      size.tokens = (copies * prompt.tokens + group * length + batches - 1) / batches
      size.targets = (group * length + batches - 1) / batches
      size.squares =
        (Double(group) * whole * whole - Double((group - copies) * prompt.tokens * prompt.tokens)) / Double(batches)
      size.sequences = group
      return size
    }
  }

  private static func size(of item: [Range<Int>], _ set: TrainingSet, maxLength: Int) -> Size {
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

  /// Counts the work of a run over items of these sizes, whose sequences share a prefix of `shared` tokens.
  /// - Parameter ranks: the processes that share the run.
  package init(_ sizes: [Size], _ configuration: TrainingConfiguration, shared: Int = 0, ranks: Int = 1) {
    self.shared = sizes.count > 1 && configuration.trainBatchSize > 1 ? shared : 0
    let order = BatchOrder(itemCount: sizes.count, configuration, ranks: ranks)
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
    let ownShare = share / Double(ranks)
    total.tokens = Int(Double(total.tokens) * ownShare)
    total.targets = Int(Double(total.targets) * ownShare)
    total.squares *= ownShare
  }
}
