/// The tokens a tokenizer gives a role.
public struct SpecialTokens: Sendable, Hashable {
  /// A token with its text.
  public struct Token: Sendable, Hashable {
    /// As it stands in text.
    public let text: String
    /// Its place in the vocabulary.
    public let id: Int32

    /// A token of this text and id.
    public init(text: String, id: Int32) {
      self.text = text
      self.id = id
    }
  }

  /// Begins a text.
  public var bos: Token?
  /// Ends a text or turn.
  public var eos: Token?
  /// Fills rows up to one length.
  public var pad: Token?
  /// Stands for what no other token can.
  public var unk: Token?
  /// All tokens that control the model rather than being text; `skipSpecialTokens` leaves these out.
  public var ids: Set<Int32> = []

  /// No tokens.
  public init() {}
}
