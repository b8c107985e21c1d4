/// A tokenizer's special tokens and their roles.
public struct SpecialTokens: Sendable, Hashable {
  /// A token's text and id.
  public struct Token: Sendable, Hashable {
    /// The text of the token, as it appears in a prompt.
    public let text: String
    /// The token's id in the vocabulary.
    public let id: Int32

    /// Creates a token; `id` must be that of `text` in the vocabulary.
    public init(text: String, id: Int32) {
      self.text = text
      self.id = id
    }
  }

  /// The beginning-of-sequence token.
  public var bos: Token?
  /// The end-of-sequence token, which also ends a turn in many chat models.
  public var eos: Token?
  /// The padding token. Swiftlet never pads, but saved files name it.
  public var pad: Token?
  /// The unknown token, which replaces text that no other token covers.
  public var unk: Token?
  /// The texts of all special tokens that have a name, by name: `sep_token`, `image_token`; transformers'
  /// `special_tokens_map`. A text need not be in the vocabulary.
  public var named: [String: String] = [:]
  /// The ids of all special tokens, with or without a role. `skipSpecialTokens` leaves these out.
  public var ids: Set<Int32> = []

  /// Creates an empty set of special tokens.
  public init() {}
}
