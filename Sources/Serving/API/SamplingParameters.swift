import Diagnostics
import Models
import OrderedJSON

/// The members of a request that chat and plain completions share.
struct SamplingParameters {
  var sampling = SamplingConfiguration()
  /// The limit that the client asks for; `nil` for the rest of the context.
  var maxNewTokens: Int?
  var stopStrings: [String] = []
  /// How many answers to generate.
  var count = 1
  var isStreaming = false
  var includesUsage = false

  private static let unsupported: [(name: String, neutral: Double, instead: String)] = [
    ("frequency_penalty", 0, "repetition_penalty"), ("presence_penalty", 0, "repetition_penalty"),
  ]

  init(_ reader: RequestReader) throws(APIError) {
    sampling.temperature = try reader.number("temperature", in: 0...100) ?? 1
    sampling.topP = try reader.number("top_p", in: 0...1) ?? 1
    sampling.topK = max(0, try reader.integer("top_k", in: -1...1_000_000_000) ?? 0)
    sampling.minP = try reader.number("min_p", in: 0...1) ?? 0
    sampling.repetitionPenalty = try reader.number("repetition_penalty", in: 0.01...100) ?? 1
    let seed = try reader.integer("seed", in: .min ... .max)
    sampling.seed = seed.map { UInt64(bitPattern: Int64($0)) } ?? .random(in: 0 ... .max)
    for (name, neutral, instead) in Self.unsupported {
      guard let value = reader.json[name]?.double, value != neutral else { continue }
      throw .invalidRequest("\"\(name)\" is not supported; use \"\(instead)\".", parameter: name)
    }
    if let bias = reader.json["logit_bias"]?.object, bias.count > 0 {
      throw .invalidRequest("\"logit_bias\" is not supported.", parameter: "logit_bias")
    }
    let limits = 1...1_000_000_000
    let (limit, olderLimit) = try (
      reader.integer("max_completion_tokens", in: limits), reader.integer("max_tokens", in: limits)
    )
    maxNewTokens = limit ?? olderLimit
    stopStrings = try reader.strings("stop") ?? []
    guard stopStrings.count <= 16 else {
      throw .invalidRequest("\"stop\" may hold at most 16 strings.", parameter: "stop")
    }
    count = try reader.integer("n", in: 1...16) ?? 1
    isStreaming = try reader.bool("stream") ?? false
    includesUsage = try reader.object("stream_options")?.bool("include_usage") ?? false
  }

  /// The requests to the engine, one per answer; each samples with a seed of its own.
  func requests(model: String, prompt: [Int32], context: Int, format: AnswerFormat, topLogprobs: Int?)
    -> [GenerationRequest]
  {
    (0..<count).map { index in
      var request = GenerationRequest(
        model: model, prompt: prompt, maxNewTokens: min(maxNewTokens ?? .max, max(1, context - prompt.count)))
      request.sampling = sampling
      request.sampling.seed = sampling.seed &+ UInt64(index)
      request.stopStrings = stopStrings
      request.topLogprobs = topLogprobs
      request.format = format
      return request
    }
  }
}
