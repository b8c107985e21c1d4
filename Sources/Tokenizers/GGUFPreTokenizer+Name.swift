import Diagnostics
import OrderedJSON

extension GGUFPreTokenizer {
  /// One name for each set of rules, most common first.
  private static let names = [
    "qwen2", "llama-bpe", "smollm", "gpt-2", "dbrx", "stablelm2", "glm4", "qwen35", "tekken", "gpt-4o", "deepseek-llm",
    "deepseek-coder", "deepseek-v3", "falcon", "default", "bloom", "viking", "seed-coder", "bailingmoe",
  ]

  /// llama.cpp's name for the pre-tokenizer of a byte-level tokenizer: the one whose rules split `probe` into the same
  /// words.
  /// - Throws: `SwiftletError` if no supported name matches.
  static func name(of pipeline: Pipeline, ignoresMerges: Bool) throws(SwiftletError) -> String {
    let wanted = words(pipeline.preTokenizers)
    var found: [(name: String, isNormalized: Bool)] = []
    for name in names {
      guard let rules = GGUFPreTokenizer(name), rules.ignoresMerges == ignoresMerges else { continue }
      let steps = try PreTokenizer.steps(ConfigurationValue(rules.json, file: "pre-tokenizer \(name)"))
      if words(steps) == wanted { found.append((name, !rules.normalizer.isNull)) }
    }
    // llama.cpp does not normalize text for any of these names, but other readers may.
    if let exact = found.first(where: { $0.isNormalized == !pipeline.normalizers.isEmpty }) { return exact.name }
    if let other = found.first { return other.name }
    throw SwiftletError.tokenizer(
      "llama.cpp has no pre-tokenizer that splits text like this tokenizer; supported are \(supported)")
  }

  private static func words(_ steps: [PreTokenizer]) -> [[UInt8]] {
    var words: [[UInt8]] = []
    let bytes = Array(probe.utf8)
    let text = TrackedText(bytes: bytes, range: 0..<bytes.count, tracks: false)
    PreTokenizer.forEachWord(of: text, steps[...], isFirst: true) { words.append(Array($0.bytes[$1])) }
    return words
  }

  /// A text that all supported pre-tokenizers split differently: contractions in both cases, runs of digits, letters
  /// with combining marks, scripts without spaces, line breaks, punctuation.
  static let probe = """
    I've told'em we'LL see, DON'T you? it's 'D'RE's  3 33 333 4444 55555 12.5%  x2y3 CamelCaseWORDs camelHTTPServer
    nai\u{308}ve e\u{301}te\u{301} \u{928}\u{92E}\u{938}\u{94D}\u{924}\u{947} \u{915}\u{93F} \u{E2A}\u{E27}\u{E31}\u{E2A}

      \t\ttabs \t and   spaces   \r\n\r\n \n  end.  \n\n\n
    \u{4F60}\u{597D}\u{FF0C}\u{4E16}\u{754C}\u{3002}2024\u{5E74}abc\u{4E2D}\u{6587}d \u{3053}\u{3093}\u{306B}\u{30AB}\u{30BF} \u{C548}\u{B155}
    !!! ... a/b/c//\n/d [x](y){z} <tag> $5 +1 =~^`| "quoted" \u{201C}curly\u{201D} #if @me _under_score \u{2026}\u{2014}\u{FF01}\u{FF1F}
    \u{41F}\u{440}\u{438}\u{432}\u{435}\u{442} \u{395}\u{3BB}\u{3BB} \u{10D2} \u{2160}\u{B2}\u{BD} \u{1F642}\u{200D}\u{1F32B} \u{661}\u{662} \u{3B1}'s
    """
}
