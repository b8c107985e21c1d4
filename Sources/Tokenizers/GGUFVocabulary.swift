/// The tokenizer in the metadata of a GGUF file (the `tokenizer.ggml.*` keys of the GGUF specification).
public struct GGUFVocabulary: Sendable {
  /// `tokenizer.ggml.model`: "gpt2" for byte-level BPE, "llama" for SentencePiece BPE, or "gemma4".
  public var model: String
  /// `tokenizer.ggml.pre`: llama.cpp's name for the rules that split text into words.
  public var preTokenizer: String?
  /// The spelling of each token, by id.
  public var tokens: [String]
  /// The type of each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
  public var tokenTypes: [Int32]?
  /// The score of each token, which sets the order of merges in a SentencePiece vocabulary.
  public var scores: [Float]?
  /// The merges, each as two tokens separated by a space, in rank order.
  public var merges: [String]?
  /// The id of the BOS token.
  public var bosID: Int32?
  /// The id of the EOS token.
  public var eosID: Int32?
  /// The id of the end-of-turn token, if it differs from `eosID`.
  public var eotID: Int32?
  /// The id of the unknown token.
  public var unkID: Int32?
  /// The id of the padding token.
  public var padID: Int32?
  /// Whether BOS is added before a text.
  public var addBOS: Bool?
  /// Whether EOS is added after a text.
  public var addEOS: Bool?
  /// Whether a space is added before a text.
  public var addSpacePrefix: Bool?
  /// The default chat template, a Jinja template.
  public var chatTemplate: String?
  /// Other chat templates by name.
  public var namedTemplates: [String: String] = [:]
  /// `general.name`. llama.cpp uses it to recognize Phi-3, whose special tokens strip the whitespace after them.
  public var modelName: String?
  /// The file it was read from, for error messages.
  package var path: String?

  /// Creates a vocabulary from its parts; `Tokenizer(gguf:)` checks them.
  public init(
    model: String, preTokenizer: String? = nil, tokens: [String], tokenTypes: [Int32]? = nil, scores: [Float]? = nil,
    merges: [String]? = nil, bosID: Int32? = nil, eosID: Int32? = nil, unkID: Int32? = nil, padID: Int32? = nil,
    addBOS: Bool? = nil, addEOS: Bool? = nil, addSpacePrefix: Bool? = nil, chatTemplate: String? = nil,
    modelName: String? = nil
  ) {
    self.model = model
    self.preTokenizer = preTokenizer
    self.tokens = tokens
    self.tokenTypes = tokenTypes
    self.scores = scores
    self.merges = merges
    self.bosID = bosID
    self.eosID = eosID
    self.unkID = unkID
    self.padID = padID
    self.addBOS = addBOS
    self.addEOS = addEOS
    self.addSpacePrefix = addSpacePrefix
    self.chatTemplate = chatTemplate
    self.modelName = modelName
  }
}

extension GGUFVocabulary {
  /// The values of `tokenizer.ggml.token_type`.
  enum TokenType {
    static let normal: Int32 = 1
    static let unknown: Int32 = 2
    static let control: Int32 = 3
    static let userDefined: Int32 = 4
    static let unused: Int32 = 5
    static let byte: Int32 = 6
  }
}
