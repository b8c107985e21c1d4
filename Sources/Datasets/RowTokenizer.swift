import ChatTemplates
import Diagnostics

/// What row preparation needs from a tokenizer and a chat template, as closures, so that it doesn't depend on an
/// implementation.
public struct RowTokenizer: Sendable {
  /// Encodes a text, with or without the special tokens that the model expects around every text.
  public var encode: @Sendable (_ text: String, _ addsSpecialTokens: Bool) -> [Int32]
  /// Encodes a rendered conversation without adding special tokens. Each id comes with its range of UTF-8 bytes.
  public var encodeWithOffsets: @Sendable (_ text: String) -> (ids: [Int32], offsets: [Range<Int>])
  /// The text of one id, including that of special tokens.
  public var decode: @Sendable (Int32) -> String
  /// Whether an id is an added token, such as an end-of-turn or EOS token.
  public var isAdded: @Sendable (Int32) -> Bool
  /// The EOS token as text, if the tokenizer has one.
  public var eosToken: String?
  /// The id of the BOS token, if the tokenizer has one.
  public var bosTokenID: Int32?
  /// Computes a fingerprint of the tokenizer and template for cache keys. `nil` disables caching.
  public var identity: (@Sendable () -> String?)?
  /// Renders a conversation; `nil` if there is no chat template.
  public var render: (@Sendable (Conversation) throws(SwiftletError) -> ChatTemplate.Rendering)?
  /// A note about the template for the preparation report: that it was replaced by a training template.
  public var templateNote: String?

  /// Creates a row tokenizer from closures.
  public init(
    encode: @escaping @Sendable (_ text: String, _ addsSpecialTokens: Bool) -> [Int32],
    encodeWithOffsets: @escaping @Sendable (_ text: String) -> (ids: [Int32], offsets: [Range<Int>]),
    decode: @escaping @Sendable (Int32) -> String, isAdded: @escaping @Sendable (Int32) -> Bool,
    eosToken: String?, bosTokenID: Int32? = nil,
    render: (@Sendable (Conversation) throws(SwiftletError) -> ChatTemplate.Rendering)? = nil
  ) {
    self.encode = encode
    self.encodeWithOffsets = encodeWithOffsets
    self.decode = decode
    self.isAdded = isAdded
    self.eosToken = eosToken
    self.bosTokenID = bosTokenID
    self.render = render
  }
}
