import Tokenizers

extension Recipe {
  /// The tokens to add to the tokenizer, in the order of their ids: special tokens follow the others.
  package var newTokens: [AddedToken] {
    training.addedTokens.map { AddedToken($0, isSpecial: false) }
      + training.addedSpecialTokens.map { AddedToken($0, isSpecial: true) }
  }
}
