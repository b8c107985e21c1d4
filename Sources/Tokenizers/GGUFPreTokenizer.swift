import OrderedJSON

/// The pre-tokenizers that GGUF files refer to by name, converted to the terms of `tokenizer.json`.
///
/// The names are llama.cpp's. The regular expressions are those of the models' own `tokenizer.json` files.
struct GGUFPreTokenizer: Sendable {
  /// The steps before bytes are converted to GPT-2's byte alphabet.
  var steps: [JSONValue]
  var normalizer: JSONValue = nil
  /// Whether a word that is itself a token is never split.
  var ignoresMerges = false
  /// Whether BOS is added before a text if the file does not specify it.
  var addsBOS = false

  /// The supported names, for messages.
  static let supported =
    "default, gpt-2, llama-bpe, qwen2, qwen35, smollm, starcoder, deepseek-llm, deepseek-coder, deepseek-v3, falcon, "
    + "gpt-4o, tekken and their variants"

  /// The pre-tokenizer called `name`; `nil` if it is not supported. No name means "default".
  init?(_ name: String?) {
    switch name ?? "default" {
    case "gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0", "mellum",
      "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4":
      steps = [Self.gpt2]
    case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2":
      steps = [Self.digits, Self.gpt2]
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano":
      steps = [Self.split(Self.llama3(#"\p{N}{1,3}"#))]
      ignoresMerges = true
      addsBOS = true
    case "dbrx", "smaug-bpe", "chatglm-bpe": steps = [Self.split(Self.llama3(#"\p{N}{1,3}"#))]
    case "glm4", "glm5":
      steps = [Self.split(Self.llama3(#"\p{N}{1,3}"#))]
      ignoresMerges = true
    case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez":
      steps = [Self.split(Self.llama3(#"\p{N}"#))]
      normalizer = ["type": "NFC"]
    case "stablelm2", "hunyuan", "solar-open", "grok-2": steps = [Self.split(Self.llama3(#"\p{N}"#))]
    case "qwen35":
      steps = [Self.split(Self.qwen35)]
      normalizer = ["type": "NFC"]
    case "deepseek-llm": steps = Self.deepSeekLLM
    case "deepseek-coder": steps = Self.deepSeekCoder
    case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4": steps = Self.deepSeekV3
    case "falcon":
      steps = [Self.split(#"[\p{P}\$\+<=>\^~\|`]+"#), Self.gpt2, Self.split("[0-9][0-9][0-9]")]
    case "default":
      steps = [
        Self.split(#"[\p{P}\$\+<=>\^~\|]+"#), Self.gpt2, Self.split(#"\p{N}+"#), Self.split("[0-9][0-9][0-9]"),
      ]
    case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2": steps = [Self.split(Self.gpt4o)]
    case "tekken":
      steps = [Self.split(Self.tekken)]
      ignoresMerges = true
      addsBOS = true
    case "bloom", "poro-chat", "gpt3-finnish": steps = [Self.split(Self.bloom)]
    case "viking": steps = [Self.split(Self.bloom), Self.digits]
    case "seed-coder": steps = [Self.split(Self.seedCoder)]
    case "bailingmoe", "bailingmoe2", "llada-moe": steps = [Self.split(Self.bailing)]
    default: return nil
    }
  }

  // MARK: Steps

  private static let gpt2: JSONValue = [
    "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
  ]
  private static let digits: JSONValue = ["type": "Digits", "individual_digits": true]
  static let bytes: JSONValue = [
    "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
  ]

  private static func split(_ expression: String) -> JSONValue {
    ["type": "Split", "pattern": ["Regex": .string(expression)], "behavior": "Isolated", "invert": false]
  }

  /// The value of `pre_tokenizer` in `tokenizer.json`.
  var json: JSONValue {
    // `ByteLevel` with its own expression splits and converts bytes, so it replaces the conversion step.
    if steps.last == Self.gpt2 {
      return steps.count == 1 ? Self.gpt2 : ["type": "Sequence", "pretokenizers": .array(steps)]
    }
    let splitting = steps.map { step -> JSONValue in
      step == Self.gpt2 ? Self.split(Self.gpt2Expression) : step
    }
    return ["type": "Sequence", "pretokenizers": .array(splitting + [Self.bytes])]
  }

  // MARK: Expressions

  private static let gpt2Expression = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private static func llama3(_ numbers: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + numbers
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  private static let qwen35 =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  private static let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
  private static let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
  private static let lead = #"[^\r\n\p{L}\p{N}]?"#
  private static let slashTail = #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  private static var gpt4o: String {
    let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    return lead + upper + "*" + lower + "+" + contraction + "|" + lead + upper + "+" + lower + "*" + contraction
      + #"|\p{N}{1,3}"# + slashTail
  }

  private static var tekken: String {
    lead + upper + "*" + lower + "+|" + lead + upper + "+" + lower + #"*|\p{N}"# + slashTail
  }

  private static let bloom = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{0964}\u{06D4}\u{060C})]+"

  private static let seedCoder =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  private static let bailing =
    #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#

  private static let deepSeekV3: [JSONValue] = [
    split(#"\p{N}{1,3}"#), split("[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+"),
    split(
      ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
        + #"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#),
  ]

  /// Chinese characters, everything from U+0800 to U+4E00, and Hangul.
  private static let asian = "[\u{4E00}-\u{9FA5}\u{0800}-\u{4E00}\u{AC00}-\u{D7FF}]+"

  private static let deepSeekCoder: [JSONValue] = [
    split("[\r\n]"), split(#"\s?\p{L}+"#), split(#"\s?\p{P}+"#), split(asian), digits,
  ]

  private static let deepSeekLLM: [JSONValue] = [
    split("[\r\n]"), split(#"\s?["# + casedLetters + "]+"),
    split(
      #"\s?[!-/:-~"# + "\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+"),
    split(#"\s+$"#), split(asian), split(#"\p{N}+"#),
  ]

  /// The letters of bicameral scripts, as listed in DeepSeek LLM's expression.
  private static let casedLetters =
    "A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}"
    + "\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}"
    + "\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}"
    + "\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}"
    + "\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}"
    + "\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}"
    + "\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}"
    + "\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}"
    + "\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}"
    + "\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}"
    + "\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}"
    + "\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}"
    + "\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}"
}
