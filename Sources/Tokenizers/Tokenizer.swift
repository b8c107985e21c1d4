import Essentials

/// Converts text to a model's token ids and back.
///
/// Reads Hugging Face's `tokenizer.json` with its companion files and the vocabularies of GGUF files, and produces the
/// same ids as the `tokenizers` library. Safe to use from several threads at once.
public final class Tokenizer: Sendable {
  let pipeline: Pipeline
  private let encoder: TokenEncoder
  private let detokenizer: Detokenizer
  private let addedTokensByID: [Int32: AddedToken]
  private let addedIDsByContent: [[UInt8]: Int32]
  private let workspaces = WorkspacePool()
  let source: Source

  /// What the tokenizer was created from, which is what `write(to:)` writes.
  enum Source: Sendable {
    case files(TokenizerFiles)
    case gguf(GGUFConversion)
  }

  /// The special tokens: BOS, EOS, padding, unknown, and every other token marked special.
  public let specialTokens: SpecialTokens
  /// The default chat template, a Jinja template; `nil` if the model has none.
  public let chatTemplateSource: String?
  /// All chat templates by name, such as "default" and "tool_use".
  public let chatTemplateSources: [String: String]

  init(_ pipeline: Pipeline, specialTokens: SpecialTokens, chatTemplates: [String: String], source: Source) {
    self.pipeline = pipeline
    encoder = TokenEncoder(pipeline)
    detokenizer = Detokenizer(steps: pipeline.decoder)
    addedTokensByID = Dictionary(pipeline.addedTokens.map { ($0.id, $0) }) { $1 }
    addedIDsByContent = Dictionary(pipeline.addedTokens.map { ($0.content, $0.id) }) { $1 }
    self.specialTokens = specialTokens
    chatTemplateSources = chatTemplates
    chatTemplateSource = chatTemplates["default"]
    self.source = source
  }

  /// The token ids of `text`.
  /// - Parameter addSpecialTokens: whether to add the tokens that the model expects around a text, such as BOS.
  public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
    var workspace = workspaces.take()
    encoder.encode(Array(text.utf8), addSpecialTokens: addSpecialTokens, tracksOffsets: false, &workspace)
    let ids = workspace.ids
    workspace.ids = []
    workspaces.give(workspace)
    return ids
  }

  /// The token ids of `text` and, for each, the range of UTF-8 bytes that it covers. The range is empty for tokens
  /// added around the text.
  public func encodeWithOffsets(_ text: String, addSpecialTokens: Bool = true) -> (ids: [Int32], offsets: [Range<Int>])
  {
    var workspace = workspaces.take()
    encoder.encode(Array(text.utf8), addSpecialTokens: addSpecialTokens, tracksOffsets: true, &workspace)
    let result = (workspace.ids, workspace.offsets)
    workspace.ids = []
    workspace.offsets = []
    workspaces.give(workspace)
    return result
  }

  /// The text of `ids`. Unknown ids are skipped, and bytes that are not valid UTF-8 become U+FFFD.
  /// - Parameter skipSpecialTokens: whether to leave out the tokens in `specialTokens.ids`.
  public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) -> String {
    let tokens = ids.compactMap { spelling($0, skipSpecialTokens: skipSpecialTokens) }
    return String(decoding: detokenizer.decode(tokens), as: UTF8.self)
  }

  /// A decoder for tokens that arrive one at a time, as during generation.
  public func streamDecoder(skipSpecialTokens: Bool) -> StreamDecoder {
    StreamDecoder(self, skipSpecialTokens: skipSpecialTokens)
  }

  /// The highest token id plus one, including added tokens. A model's embedding may have more rows.
  public var vocabularySize: Int {
    max(pipeline.model.vocabulary.count, (addedTokensByID.keys.max().map { Int($0) } ?? -1) + 1)
  }

  /// The token with this id as the vocabulary spells it (`Ġthe`, `▁the`); `nil` if there is none.
  public func token(_ id: Int32) -> String? {
    spelling(id, skipSpecialTokens: false).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The id of a token as the vocabulary spells it; `nil` if there is none.
  public func id(of token: String) -> Int32? {
    addedIDsByContent[Array(token.utf8)] ?? pipeline.model.vocabulary.id(of: token)
  }

  var decoderSteps: [DecoderStep]? { detokenizer.steps }

  /// The spelling of a token; `nil` if there is none or it is to be skipped.
  func spelling(_ id: Int32, skipSpecialTokens: Bool) -> [UInt8]? {
    if skipSpecialTokens, specialTokens.ids.contains(id) { return nil }
    if let added = addedTokensByID[id] { return added.content }
    let vocabulary = pipeline.model.vocabulary
    guard id >= 0, vocabulary.contains(Int(id)) else { return nil }
    return Array(vocabulary.spellings[Int(id)])
  }
}
