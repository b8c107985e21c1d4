import Diagnostics
import OrderedJSON

/// What preparing rows needs of a tokenizer and a chat template, as functions, so that any pair of them fits.
public struct RowTokenizer: Sendable {
  /// A rendered conversation.
  public struct Rendering: Sendable {
    /// The text, control tokens included.
    public var text: String
    /// Where the assistant's words stand, as offsets into the UTF-8 of `text`.
    public var assistantSpans: [Range<Int>]

    /// A rendering of these parts.
    public init(text: String, assistantSpans: [Range<Int>] = []) {
      self.text = text
      self.assistantSpans = assistantSpans
    }
  }

  /// What is to be rendered.
  public struct Conversation: Sendable {
    /// A list of messages.
    public var messages: [JSONValue]
    /// The tools that the template lists, if the row has any.
    public var tools: JSONValue?
    /// Whether the text ends where the assistant's answer begins.
    public var addsGenerationPrompt = false
    /// Whether `assistantSpans` are needed.
    public var marksAssistant = false
    /// More variables for the template.
    public var variables = JSONObject()

    /// A conversation of these messages.
    public init(messages: [JSONValue], tools: JSONValue? = nil) {
      self.messages = messages
      self.tools = tools
    }
  }

  /// The ids of a text, between those that stand around every text where the flag says so.
  public var encode: @Sendable (_ text: String, _ addsSpecialTokens: Bool) -> [Int32]
  /// The ids of a rendered conversation, and of each the bytes of the text's UTF-8 that it stands for.
  public var encodeWithOffsets: @Sendable (_ text: String) -> (ids: [Int32], offsets: [Range<Int>])
  /// The text of one id, special tokens included.
  public var decode: @Sendable (Int32) -> String
  /// Whether an id stands for a token that was added to the vocabulary, as the ends of turns and texts are.
  public var isAdded: @Sendable (Int32) -> Bool
  /// The token that ends a text, if the tokenizer names one.
  public var eosToken: String?
  /// The id that begins a text, if the tokenizer names one.
  public var bosTokenID: Int32?
  /// What tells this tokenizer and template from any other, asked for when a cache is used; `nil` keeps it out of caches.
  public var identity: (@Sendable () -> String?)?
  /// Applies the chat template; `nil` where there is none.
  public var render: (@Sendable (Conversation) throws(SwiftletError) -> Rendering)?

  /// A tokenizer of these parts.
  public init(
    encode: @escaping @Sendable (_ text: String, _ addsSpecialTokens: Bool) -> [Int32],
    encodeWithOffsets: @escaping @Sendable (_ text: String) -> (ids: [Int32], offsets: [Range<Int>]),
    decode: @escaping @Sendable (Int32) -> String, isAdded: @escaping @Sendable (Int32) -> Bool,
    eosToken: String?, bosTokenID: Int32? = nil,
    render: (@Sendable (Conversation) throws(SwiftletError) -> Rendering)? = nil
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
