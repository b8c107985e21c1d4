import Models
import Tensors

extension MethodSettings {
  /// Whether the method trains a head that scores whole sequences, rather than the prediction of tokens.
  package var scoresSequences: Bool { !rowKind.predictsTokens }
}

extension TrainingMethod {
  /// Whether the method trains a head that scores whole sequences, rather than the prediction of tokens.
  package var scoresSequences: Bool { settings?.scoresSequences ?? false }
}

extension TrainingPass {
  /// Runs the batch through the model, and scores each sequence with the model's sequence head. To train, set
  /// `gradients` of the result to the derivatives of the loss, multiplied by `gradientScale`.
  ///
  /// What the sequences of an item begin with goes through the model once.
  public func scores() -> SequenceScores {
    let items = sequencesPerItem > 1 ? batch.items(of: sequencesPerItem) : [batch]
    // A recurrent layer continues the prefix of one item only.
    let isShared = sharesPrefix && (items.count == 1 || !model.configuration.isRecurrent)
    let parts = isShared ? items.map { $0.sharingPrefix() } : items
    let hidden = hiddenStates(of: parts)
    guard let head = model.sequenceHead else { preconditionFailure("the trainer checks that there is a head") }
    return tape.sequenceScores(hidden, rows: model.scoredRows(parts), head: head.weight)
  }
}
