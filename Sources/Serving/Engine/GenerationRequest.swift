import Models

/// What a client asks a model to generate.
package struct GenerationRequest: Sendable {
  /// The id of the model.
  package var model: String
  package var prompt: [Int32]
  package var sampling = SamplingConfiguration()
  package var maxNewTokens: Int
  /// Texts that end the answer; they are not part of it.
  package var stopStrings: [String] = []
  /// How many of the most likely tokens to report at each position; `nil` for no probabilities at all.
  package var topLogprobs: Int?
  /// What the answer must look like.
  package var format: AnswerFormat = .text

  package init(model: String, prompt: [Int32], maxNewTokens: Int) {
    (self.model, self.prompt, self.maxNewTokens) = (model, prompt, maxNewTokens)
  }
}

/// A token with the natural logarithm of its probability, before temperature and filters.
package struct TokenLogprob: Sendable {
  package var id: Int32
  package var logprob: Float
  /// The most likely tokens at this position, most likely first.
  package var top: [(id: Int32, logprob: Float)] = []
}

/// News of a generation.
package enum GenerationUpdate: Sendable {
  /// The prompt's length, and how many of its tokens needed no computing because they were in the cache.
  case began(promptTokens: Int, cachedTokens: Int)
  /// Text that no later token changes, perhaps empty, and the probabilities of the tokens since the last update.
  case text(String, [TokenLogprob])
  /// The end, with the number of generated tokens, the stop token included.
  case ended(FinishReason, tokens: Int)
}
