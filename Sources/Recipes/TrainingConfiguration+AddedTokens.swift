import Tokenizers
import Training

extension TrainingConfiguration {
  /// The tokens to add to the tokenizer, in the order of their ids: special tokens follow the others.
  package var newTokens: [AddedToken] {
    addedTokens.map { AddedToken($0, isSpecial: false) } + addedSpecialTokens.map { AddedToken($0, isSpecial: true) }
  }
}
