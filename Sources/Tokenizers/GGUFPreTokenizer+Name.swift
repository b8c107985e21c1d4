import Diagnostics
import OrderedJSON

extension GGUFPreTokenizer {
  /// One name for each set of rules, the best known first.
  private static let names = [
    "qwen2", "llama-bpe", "smollm", "gpt-2", "dbrx", "stablelm2", "glm4", "qwen35", "tekken", "gpt-4o", "deepseek-llm",
    "deepseek-coder", "deepseek-v3", "falcon", "default", "bloom", "viking", "seed-coder", "bailingmoe",
  ]

  /// llama.cpp's name for how a byte-level tokenizer splits text: the one whose rules split a text with everything that
  /// they tell apart into the same words.
  ///
  /// - Throws: `SwiftletError` where there is none.
  static func name(of pipeline: Pipeline, ignoresMerges: Bool) throws(SwiftletError) -> String {
    let wanted = words(pipeline.preTokenizers)
    var found: [(name: String, isNormalized: Bool)] = []
    for name in names {
      guard let rules = GGUFPreTokenizer(name), rules.ignoresMerges == ignoresMerges else { continue }
      let steps = try PreTokenizer.steps(ConfigurationValue(value: rules.json, place: "pre_tokenizer"))
      if words(steps) == wanted { found.append((name, !rules.normalizer.isNull)) }
    }
    // llama.cpp itself normalizes none of these; its readers may go by the name.
    if let exact = found.first(where: { $0.isNormalized == !pipeline.normalizers.isEmpty }) { return exact.name }
    if let other = found.first { return other.name }
    throw SwiftletError.tokenizer(
      "llama.cpp has no name for the way this tokenizer's pre_tokenizer splits text; known are \(known).")
  }

  private static func words(_ steps: [PreTokenizer]) -> [[UInt8]] {
    var words: [[UInt8]] = []
    let bytes = Array(probe.utf8)
    let text = TrackedText(bytes: bytes, range: 0..<bytes.count, tracks: false)
    PreTokenizer.forEachWord(of: text, steps[...], isFirst: true) { words.append(Array($0.bytes[$1])) }
    return words
  }

  /// Contractions in both cases, runs of digits, letters with marks, scripts without spaces, line ends, punctuation.
  static let probe = """
    I've told'em we'LL see, DON'T you? it's 'D'RE's  3 33 333 4444 55555 12.5%  x2y3 CamelCaseWORDs camelHTTPServer
    nai\u{308}ve e\u{301}te\u{301} \u{928}\u{92E}\u{938}\u{94D}\u{924}\u{947} \u{915}\u{93F} \u{E2A}\u{E27}\u{E31}\u{E2A}

      \t\ttabs \t and   spaces   \r\n\r\n \n  end.  \n\n\n
    \u{4F60}\u{597D}\u{FF0C}\u{4E16}\u{754C}\u{3002}2024\u{5E74}abc\u{4E2D}\u{6587}d \u{3053}\u{3093}\u{306B}\u{30AB}\u{30BF} \u{C548}\u{B155}
    !!! ... a/b/c//\n/d [x](y){z} <tag> $5 +1 =~^`| "quoted" \u{201C}curly\u{201D} #if @me _under_score \u{2026}\u{2014}\u{FF01}\u{FF1F}
    \u{41F}\u{440}\u{438}\u{432}\u{435}\u{442} \u{395}\u{3BB}\u{3BB} \u{10D2} \u{2160}\u{B2}\u{BD} \u{1F642}\u{200D}\u{1F32B} \u{661}\u{662} \u{3B1}'s
    """
}
