import Essentials
import Models
import OrderedJSON
import Tokenizers

/// The tokens of a request and its answers, for the member `usage`.
struct TokenUsage: Sendable {
  var prompt = 0
  var cached = 0
  var completion = 0

  var json: JSONValue {
    [
      "prompt_tokens": .integer(prompt), "completion_tokens": .integer(completion),
      "total_tokens": .integer(prompt + completion), "prompt_tokens_details": ["cached_tokens": .integer(cached)],
    ]
  }
}

/// What is the same in all JSON objects of one response.
struct ResponseIdentity: Sendable {
  let id: String
  let created = Int(Date().timeIntervalSince1970)
  let model: String

  init(prefix: String, model: String) {
    id = prefix + Identifiers.random()
    self.model = model
  }

  func object(_ kind: String, choices: [JSONValue], usage: TokenUsage? = nil) -> JSONValue {
    var object: JSONObject = [
      "id": .string(id), "object": .string(kind), "created": .integer(created), "model": .string(model),
      "choices": .array(choices),
    ]
    if let usage { object["usage"] = usage.json }
    return .object(object)
  }
}

/// Random identifiers of requests, files and jobs.
enum Identifiers {
  static func random() -> String {
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    return String((0..<24).map { _ in letters[Int.random(in: 0..<letters.count)] })
  }
}

extension TokenLogprob {
  /// As in chat completions: the token's text, its bytes, and the most likely tokens.
  func json(_ tokenizer: Tokenizer) -> JSONValue {
    func entry(_ id: Int32, _ logprob: Float) -> JSONObject {
      let text = tokenizer.decode([id])
      // JSON has no infinity.
      return [
        "token": .string(text), "logprob": .number(Double(max(logprob, -9999))),
        "bytes": .array(text.utf8.map { .integer(Int($0)) }),
      ]
    }
    var object = entry(id, logprob)
    object["top_logprobs"] = .array(top.map { .object(entry($0.id, $0.logprob)) })
    return .object(object)
  }
}
