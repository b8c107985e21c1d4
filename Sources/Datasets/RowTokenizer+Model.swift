import Diagnostics
import ChatTemplates
import Checkpoints
import Foundation
import OrderedJSON
import Tokenizers

extension RowTokenizer {
  /// A model's tokenizer with its chat template.
  ///
  /// - Parameters:
  ///   - tokenizer: the tokenizer.
  ///   - template: the source of the chat template; `nil` for the tokenizer's own, if it has one.
  ///   - eosToken: `eos_token`, where it is to be another than the tokenizer's.
  ///   - marksAssistant: whether the assistant's words have to be marked. A template of a known family without
  ///     `{% generation %}` then gives way to ours with it.
  /// - Throws: `SwiftletError` if the template is broken or cannot mark the assistant's words, or the tokenizer has no such
  ///   token.
  public init(
    _ tokenizer: Tokenizer, template: String? = nil, eosToken: String? = nil, marksAssistant: Bool = false
  ) throws(SwiftletError) {
    if let eosToken, tokenizer.id(of: eosToken) == nil {
      throw SwiftletError.data("eos_token \"\(eosToken)\" is not in the tokenizer's vocabulary; name a token that is")
    }
    let special = tokenizer.specialTokens
    self.init(
      encode: { tokenizer.encode($0, addSpecialTokens: $1) },
      encodeWithOffsets: { tokenizer.encodeWithOffsets($0, addSpecialTokens: false) },
      decode: { tokenizer.decode([$0]) },
      isAdded: { special.ids.contains($0) },
      eosToken: eosToken ?? special.eos?.text, bosTokenID: special.bos?.id)
    let source = template ?? tokenizer.chatTemplateSource
    identity = { Self.identity(tokenizer, [source ?? "", eosToken ?? ""]) }
    guard let source else { return }
    var variables = JSONObject()
    variables["bos_token"] = special.bos.map { .string($0.text) }
    variables["eos_token"] = (eosToken ?? special.eos?.text).map { .string($0) }
    variables["pad_token"] = special.pad.map { .string($0.text) }
    variables["unk_token"] = special.unk.map { .string($0.text) }
    render = try Self.renderer(source, variables, marksAssistant: marksAssistant)
  }

  /// A fingerprint of the files that a tokenizer says everything in, and of what is used with it.
  private static func identity(_ tokenizer: Tokenizer, _ companions: [String]) -> String? {
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
    for companion in companions { hash.update(companion) }
    return hash.hexadecimal
  }

  private static func renderer(
    _ source: String, _ tokens: JSONObject, marksAssistant: Bool
  ) throws(SwiftletError) -> @Sendable (Conversation) throws(SwiftletError) -> Rendering {
    let template: ChatTemplate
    do {
      template = try ChatTemplate(source)
    } catch {
      throw SwiftletError.data("the chat template is broken: \(error)")
    }
    if marksAssistant, !template.marksGeneration {
      guard let marked = ChatTemplate.trainingVariant(of: source) else {
        throw SwiftletError.data(
          "assistant_only_loss needs a chat template with {% generation %} around the assistant's words, and this "
            + "model's has none; name one with chat_template_path")
      }
      return try renderer(marked, tokens, marksAssistant: false)
    }
    return { conversation throws(SwiftletError) in
      var variables = tokens
      for member in conversation.variables.members { variables[member.key] = member.value }
      do {
        let rendering = try template.render(
          messages: .array(conversation.messages), tools: conversation.tools,
          addGenerationPrompt: conversation.addsGenerationPrompt, variables: variables)
        return Rendering(text: rendering.text, assistantSpans: rendering.generationSpans)
      } catch {
        throw SwiftletError.data("the chat template refuses the conversation: \(error)")
      }
    }
  }
}
