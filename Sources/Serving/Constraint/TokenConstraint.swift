import Models
import OrderedJSON
import Tokenizers

/// What an answer must look like.
package enum AnswerFormat: Sendable {
  /// Anything.
  case text
  /// Any JSON object.
  case jsonObject
  /// JSON that a schema allows.
  case jsonSchema(JSONValue)

  /// Restricts the tokens of one answer; `nil` if all are allowed.
  /// - Throws: `APIError` for a schema that output can't be constrained to.
  func constraint(_ tokenizer: Tokenizer, stopTokens: Set<Int32>) throws -> TokenConstraint? {
    switch self {
    case .text: nil
    case .jsonObject: TokenConstraint(.anyObject, tokenizer, stopTokens: stopTokens)
    case .jsonSchema(let schema): TokenConstraint(try JSONSchemaDocument(schema), tokenizer, stopTokens: stopTokens)
    }
  }
}

/// Allows only tokens that continue a document which a JSON schema allows, and stop tokens only at its end.
final class TokenConstraint {
  private var automaton: JSONAutomaton
  private var decoder: StreamDecoder
  private let stopTokens: Set<Int32>
  private let specialTokens: Set<Int32>

  init(_ schema: JSONSchemaDocument, _ tokenizer: Tokenizer, stopTokens: Set<Int32>) {
    automaton = JSONAutomaton(schema)
    decoder = tokenizer.streamDecoder(skipSpecialTokens: true)
    self.stopTokens = stopTokens
    specialTokens = tokenizer.specialTokens.ids
  }

  /// Samples the next token from those that are allowed.
  func sample(_ logits: inout [Float], _ sampler: inout Sampler) -> Int32 {
    let id = sampler.sample(&logits, where: isAllowed)
    _ = advance(id, &automaton, &decoder)
    return id
  }

  private func isAllowed(_ id: Int32) -> Bool {
    if stopTokens.contains(id) { return automaton.isComplete }
    guard !automaton.isOver, !specialTokens.contains(id) else { return false }
    var (automaton, decoder) = (automaton, decoder)
    return advance(id, &automaton, &decoder)
  }

  private func advance(_ id: Int32, _ automaton: inout JSONAutomaton, _ decoder: inout StreamDecoder) -> Bool {
    let text = decoder.append(id)
    // A token without text is a part of a character, which only strings contain.
    return text.isEmpty ? automaton.isInString : automaton.read(text)
  }
}
