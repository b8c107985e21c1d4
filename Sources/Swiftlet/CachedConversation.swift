import ChatTemplates
import Diagnostics
import Models
import OrderedJSON
import Tokenizers

/// The turns of a chat, and the KV cache of the tokens that the model has read so far. A new turn computes only the
/// tokens that are not in the cache.
package final class CachedConversation {
  /// The messages so far, the system message included.
  package private(set) var messages: [Message] = []
  private let model: CausalLM
  private let thinking: Bool?
  private let cache: KeyValueCache
  private var cachedIDs: [Int32] = []

  /// An empty conversation.
  /// - Parameters:
  ///   - system: the system message.
  ///   - thinking: whether a model that can think does so before it answers; `nil` for the template's default.
  package init(with model: CausalLM, system: String? = nil, thinking: Bool? = nil) {
    self.model = model
    self.thinking = thinking
    cache = KeyValueCache(for: model.transformer)
    if let system { messages.append(.system(system)) }
  }

  /// Forgets the cache, because the weights have changed.
  package func invalidateCache() {
    cache.truncate(to: 0)
    cachedIDs = []
  }

  /// Adds a user message and starts the answer.
  /// - Throws: `SwiftletError` if the conversation is longer than the model's context, or the template rejects it.
  package func reply(
    to text: String, sampling: SamplingConfiguration = SamplingConfiguration(), maxNewTokens: Int = 512
  ) throws -> Reply {
    let asked = messages + [.user(text)]
    let ids =
      model.chatTemplate == nil
      ? model.tokenizer.encode(text) : try model.prompt(asked, thinking: thinking)
    try model.checkPrompt(ids)
    messages = asked
    // A template may render earlier turns differently now, so only the common prefix is reused. At least one token must
    // be computed.
    let shared = cache.truncate(to: min(zip(ids, cachedIDs).prefix { $0 == $1 }.count, ids.count - 1))
    let tokens = TokenGenerator(
      model.transformer, prompt: Array(ids[shared...]), cache: cache, sampling: sampling, maxNewTokens: maxNewTokens,
      stopTokens: model.stopTokens)
    return Reply(self, prompt: ids, tokens: tokens, decoder: model.tokenizer.streamDecoder(skipSpecialTokens: true))
  }

  /// An answer that is generated piece by piece. Call `finish()` at its end, whether it is complete or not.
  package final class Reply {
    /// The text so far.
    package private(set) var text = ""
    private let conversation: CachedConversation
    private let prompt: [Int32]
    private let tokens: TokenGenerator
    private var decoder: StreamDecoder
    private var isFinished = false

    init(_ conversation: CachedConversation, prompt: [Int32], tokens: TokenGenerator, decoder: StreamDecoder) {
      self.conversation = conversation
      self.prompt = prompt
      self.tokens = tokens
      self.decoder = decoder
    }

    /// Generates one token.
    /// - Parameter reading: called before each chunk of a long prompt with the number of its tokens that have been read,
    ///   and of all; return `false` to end the answer.
    /// - Returns: the text that became certain with it, which may be empty; `nil` at the end of the answer.
    package func next(reading: (_ read: Int, _ total: Int) -> Bool = { _, _ in true }) -> String? {
      guard let id = tokens.next(reading: reading) else { return nil }
      let piece = decoder.append(id)
      text += piece
      return piece
    }

    /// Adds the answer to the conversation.
    /// - Returns: the text that was still held back because it might have been part of a longer character.
    @discardableResult package func finish() -> String {
      guard !isFinished else { return "" }
      isFinished = true
      let rest = decoder.finish()
      text += rest
      conversation.cachedIDs = Array((prompt + tokens.generation.ids).prefix(conversation.cache.count))
      conversation.messages.append(.assistant(text))
      return rest
    }
  }
}
