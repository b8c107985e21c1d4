import Foundation

/// Turns text into the token ids of a model, and back.
///
/// Reads what Hugging Face's `tokenizers` writes (`tokenizer.json` with its companions) and the vocabularies of GGUF
/// files, and gives the same ids. Safe to use from several threads at once.
public final class Tokenizer: Sendable {
  let pipeline: Pipeline
  private let encoder: Encoder
  private let detokenizer: Detokenizer
  private let addedByID: [Int32: AddedToken]
  private let addedByContent: [[UInt8]: Int32]
  private let workspaces = WorkspacePool()
  let source: Source

  /// What the tokenizer was made of, which is what `write(to:)` writes.
  enum Source: Sendable {
    case files(TokenizerFiles)
    case gguf(GGUFDescription)
  }

  /// The tokens with a role.
  public let specialTokens: SpecialTokens
  /// The chat template, in Jinja, that is used where none is named; `nil` where the model has none.
  public let chatTemplateSource: String?
  /// All chat templates by name; the one above is "default".
  public let chatTemplateSources: [String: String]

  init(_ pipeline: Pipeline, specialTokens: SpecialTokens, chatTemplates: [String: String], source: Source) {
    self.pipeline = pipeline
    encoder = Encoder(pipeline)
    detokenizer = Detokenizer(steps: pipeline.decoder)
    addedByID = Dictionary(pipeline.addedTokens.map { ($0.id, $0) }) { $1 }
    addedByContent = Dictionary(pipeline.addedTokens.map { ($0.content, $0.id) }) { $1 }
    self.specialTokens = specialTokens
    chatTemplateSources = chatTemplates
    chatTemplateSource = chatTemplates["default"]
    self.source = source
  }

  /// The ids of the tokens that `text` is made of, between those the model wants around every text where
  /// `addSpecialTokens` says so.
  public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
    var workspace = workspaces.take()
    encoder.encode(Array(text.utf8), addSpecialTokens: addSpecialTokens, tracks: false, &workspace)
    let ids = workspace.ids
    workspace.ids = []
    workspaces.give(back: workspace)
    return ids
  }

  /// The ids of `text`, and for each its range of UTF-8 bytes there; empty for tokens put around the text.
  public func encodeWithOffsets(_ text: String, addSpecialTokens: Bool = true) -> (ids: [Int32], offsets: [Range<Int>])
  {
    var workspace = workspaces.take()
    encoder.encode(Array(text.utf8), addSpecialTokens: addSpecialTokens, tracks: true, &workspace)
    let result = (workspace.ids, workspace.offsets)
    workspace.ids = []
    workspace.offsets = []
    workspaces.give(back: workspace)
    return result
  }

  /// The text that tokens stand for. Ids that no token has are passed over; bytes that are not UTF-8 become U+FFFD.
  public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) -> String {
    let tokens = ids.compactMap { spelling($0, skipSpecialTokens: skipSpecialTokens) }
    return String(decoding: detokenizer.decode(tokens), as: UTF8.self)
  }

  /// A decoder for tokens that come one by one.
  public func streamDecoder(skipSpecialTokens: Bool) -> StreamDecoder {
    StreamDecoder(self, skipsSpecialTokens: skipSpecialTokens)
  }

  /// The highest id plus one.
  public var vocabularySize: Int {
    max(pipeline.model.vocabulary.count, (addedByID.keys.max().map { Int($0) } ?? -1) + 1)
  }

  /// The token of an id in the vocabulary's own spelling (`Ġthe`, `▁the`); `nil` where there is none.
  public func token(_ id: Int32) -> String? {
    spelling(id, skipSpecialTokens: false).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The id of a token in the vocabulary's own spelling; `nil` where there is none.
  public func id(of token: String) -> Int32? {
    addedByContent[Array(token.utf8)] ?? pipeline.model.vocabulary.id(of: token)
  }

  var decoderSteps: [DecoderStep]? { detokenizer.steps }

  /// The spelling of a token; `nil` where there is none or it is to be skipped.
  func spelling(_ id: Int32, skipSpecialTokens: Bool) -> [UInt8]? {
    if skipSpecialTokens, specialTokens.ids.contains(id) { return nil }
    if let added = addedByID[id] { return added.content }
    let vocabulary = pipeline.model.vocabulary
    guard id >= 0, vocabulary.contains(Int(id)) else { return nil }
    return Array(vocabulary.spellings[Int(id)])
  }
}
