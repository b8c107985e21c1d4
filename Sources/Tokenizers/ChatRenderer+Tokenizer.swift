import ChatTemplates
import Diagnostics
import OrderedJSON

extension ChatRenderer {
  /// Creates the renderer of a tokenizer; `nil` if it has no chat template.
  /// - Parameters:
  ///   - tokenizer: names the special tokens, and the templates unless there is another one.
  ///   - template: a template that replaces all of the tokenizer's.
  ///   - eosToken: `eos_token`, if it is not the tokenizer's.
  ///   - padToken: `pad_token`, if it is not the tokenizer's.
  /// - Throws: `SwiftletError` if the template cannot be parsed.
  public init?(
    tokenizer: Tokenizer, template: String? = nil, eosToken: String? = nil, padToken: String? = nil
  ) throws(SwiftletError) {
    let sources = template.map { ["default": $0] } ?? tokenizer.chatTemplateSources
    if sources.isEmpty { return nil }
    try self.init(sources: sources, variables: Self.variables(of: tokenizer, eosToken: eosToken, padToken: padToken))
  }

  /// The template variables of a tokenizer's special tokens, as transformers passes its `special_tokens_map`.
  public static func variables(
    of tokenizer: Tokenizer, eosToken: String? = nil, padToken: String? = nil
  ) -> JSONObject {
    var variables = JSONObject()
    for (name, text) in tokenizer.specialTokens.named.sorted(by: { $0.key < $1.key }) {
      variables[name] = .string(text)
    }
    if let eosToken { variables["eos_token"] = .string(eosToken) }
    if let padToken { variables["pad_token"] = .string(padToken) }
    return variables
  }
}
