/// What the header of a GGUF file says of its vocabulary (the `tokenizer.ggml.*` keys of the GGUF specification).
public struct GGUFVocabulary: Sendable {
  /// `tokenizer.ggml.model`: "gpt2" for byte-level BPE, "llama" for SentencePiece BPE.
  public var model: String
  /// `tokenizer.ggml.pre`: which rules split text into words.
  public var preTokenizer: String?
  /// The tokens by id.
  public var tokens: [String]
  /// The kind of each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
  public var tokenTypes: [Int32]?
  /// The score of each token, by which SentencePiece merges.
  public var scores: [Float]?
  /// Pairs of tokens with a space between, those merged first before others.
  public var merges: [String]?
  /// The token that begins texts.
  public var bosID: Int32?
  /// The token that ends texts.
  public var eosID: Int32?
  /// The token that ends turns, where that is another than `eosID`.
  public var eotID: Int32?
  /// The token for what no other stands for.
  public var unkID: Int32?
  /// The token that fills rows.
  public var padID: Int32?
  /// Whether texts begin with `bosID`.
  public var addBOS: Bool?
  /// Whether texts end with `eosID`.
  public var addEOS: Bool?
  /// Whether text begins with a space that is not there.
  public var addSpacePrefix: Bool?
  /// The chat template, in Jinja.
  public var chatTemplate: String?
  /// Further chat templates by name.
  public var namedTemplates: [String: String] = [:]
  /// `general.name`, by which llama.cpp knows Phi-3, whose special tokens take white space along.
  public var modelName: String?

  /// A vocabulary of these parts.
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
  /// The kinds of tokens that `tokenizer.ggml.token_type` tells apart.
  enum Kind {
    static let normal: Int32 = 1
    static let unknown: Int32 = 2
    static let control: Int32 = 3
    static let userDefined: Int32 = 4
    static let unused: Int32 = 5
    static let byte: Int32 = 6
  }
}
