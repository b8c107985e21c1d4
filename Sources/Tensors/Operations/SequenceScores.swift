/// The scores that a head gives to some rows of the hidden states.
public final class SequenceScores {
  /// The scores `[rows, labels]`, row by row.
  public let values: [Float]
  /// The number of scores of each row.
  public let labelCount: Int
  /// The derivative of the loss by each score. Set it before the tape runs backward; without it, nothing flows back.
  public var gradients: [Float]?

  fileprivate init(values: [Float], labelCount: Int) {
    self.values = values
    self.labelCount = labelCount
  }
}

extension Tape {
  /// Scores whole sequences by the hidden state of one token each: `head` `[labels, width]` times these rows of
  /// `hidden` `[rows, width]`. A row may occur more than once.
  ///
  /// The head is small, so its products are in float32 whatever the precision of the tape.
  public func sequenceScores(_ hidden: Variable, rows: [Int32], head: Parameter) -> SequenceScores {
    let states = backend.gatherRows(hidden.value, rows)
    let scores = backend.empty([rows.count, head.value.rows], .float32)
    backend.compute([
      Product(
        [ProductTerm(backend.leftOperand(Columns(states), transposed: false), head.value, transposed: true)],
        into: Columns(scores))
    ])
    let found = SequenceScores(values: backend.floats(scores), labelCount: head.value.rows)
    let needsStates = isRecording && hidden.requiresGradient
    let trainsHead = isRecording && head.isTrainable
    guard needsStates || trainsHead else { return found }
    let (source, shape) = (hidden.slot, hidden.value.shape)
    record { [unowned self] in
      guard let gradients = found.gradients else { return }
      let dScores = backend.tensor(gradients, scores.shape)
      if trainsHead {
        let left = backend.leftOperand(Columns(dScores), transposed: true)
        backend.compute([head.gradientProduct([ProductTerm(left, states, transposed: false)], on: backend)])
      }
      guard needsStates else { return }
      let dStates = backend.empty(states.shape, .float32)
      let left = backend.leftOperand(Columns(dScores), transposed: false)
      backend.compute([Product([ProductTerm(left, head.value, transposed: false)], into: Columns(dStates))])
      let dHidden = backend.empty(shape, .float32)
      backend.clear(dHidden)
      backend.scatterAddRows(dStates, rows, into: dHidden)
      accumulate(dHidden, into: source)
    }
    return found
  }
}
