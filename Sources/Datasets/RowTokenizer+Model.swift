import ChatTemplates
import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tokenizers

extension RowTokenizer {
  /// Creates a row tokenizer from a model's tokenizer and its chat templates.
  ///
  /// - Parameters:
  ///   - tokenizer: the tokenizer.
  ///   - template: the source of a chat template that replaces the tokenizer's own.
  ///   - eosToken: `eos_token`, if it is not the tokenizer's.
  ///   - padToken: `pad_token` in chat templates, if it is not the tokenizer's.
  ///   - marksAssistant: whether the chat template must mark the assistant's tokens, for `assistant_only_loss`. If it
  ///     has no `{% generation %}` blocks, it is replaced by the training template of its family.
  /// - Throws: `SwiftletError` if the template cannot be parsed or cannot mark the assistant's tokens, or `eosToken` is
  ///   not in the vocabulary.
  public init(
    _ tokenizer: Tokenizer, template: String? = nil, eosToken: String? = nil, padToken: String? = nil,
    marksAssistant: Bool = false
  ) throws(SwiftletError) {
    if let eosToken, tokenizer.id(of: eosToken) == nil {
      throw SwiftletError.data(
        "eos_token \(eosToken.quotedExcerpt) is not in the tokenizer's vocabulary; use a token that is")
    }
    let renderer: ChatRenderer?
    do {
      renderer = try ChatRenderer(tokenizer: tokenizer, template: template, eosToken: eosToken, padToken: padToken)
    } catch {
      throw SwiftletError.data("the chat template cannot be parsed: \(error)")
    }
    try self.init(tokenizer, renderer: renderer, eosToken: eosToken, marksAssistant: marksAssistant)
  }

  /// Creates a row tokenizer from a model's tokenizer and a renderer.
  /// - Throws: `SwiftletError` if the template cannot mark the assistant's tokens.
  public init(
    _ tokenizer: Tokenizer, renderer: ChatRenderer?, eosToken: String? = nil, marksAssistant: Bool = false
  ) throws(SwiftletError) {
    let special = tokenizer.specialTokens
    self.init(
      encode: { tokenizer.encode($0, addSpecialTokens: $1) },
      encodeWithOffsets: { tokenizer.encodeWithOffsets($0, addSpecialTokens: false) },
      decode: { tokenizer.decode([$0]) },
      isAdded: { special.ids.contains($0) },
      eosToken: eosToken ?? special.eos?.text, bosTokenID: special.bos?.id)
    let sources = renderer?.sources.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] } ?? []
    let variables = renderer.map { JSONValue.object($0.variables).text() } ?? ""
    identity = { Self.identity(tokenizer, sources + [eosToken ?? "", variables]) }
    guard var renderer else { return }
    if marksAssistant { renderer = try renderer.training() }
    templateNote = renderer.replacement?.description
    let final = renderer
    render = { conversation throws(SwiftletError) in
      do {
        return try final.render(conversation)
      } catch {
        throw SwiftletError.data("the chat template rejects the conversation: \(error)")
      }
    }
  }

  /// A fingerprint of a tokenizer's files and of the texts used with it.
  private static func identity(_ tokenizer: Tokenizer, _ texts: [String]) -> String? {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    var hash = ContentHash()
    do {
      try tokenizer.write(to: folder)
      for name in try FileManager.default.subpathsOfDirectory(atPath: folder.path).sorted() {
        hash.update(name)
        if let bytes = try? Data(contentsOf: folder.appendingPathComponent(name)) { hash.update([UInt8](bytes)) }
      }
    } catch {
      return nil
    }
    for text in texts { hash.update(text) }
    return hash.hexadecimal
  }
}
