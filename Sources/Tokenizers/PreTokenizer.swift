import Diagnostics
import OrderedJSON

/// One step of a `pre_tokenizer`, which splits text into the words that the model encodes.
enum PreTokenizer: Sendable {
  case split(TextPattern, SplitBehavior, inverted: Bool)
  /// Splits the text like a well-known regular expression, but faster.
  case scan(WordScanner)
  case digits(individually: Bool)
  case punctuation(SplitBehavior)
  /// Matches of `\w+|[^\w\s]+`; the rest is dropped.
  case whitespace
  case whitespaceSplit
  case delimiter([UInt8])
  /// Replaces spaces with `replacement`, may prepend one, and may split before each.
  case metaspace(replacement: [UInt8], prepends: PrependScheme, splits: Bool)
  /// Converts bytes to GPT-2's byte alphabet.
  case byteAlphabet
  /// Prepends a space unless the text starts with one.
  case prefixSpace

  /// What happens to the matches of a split.
  enum SplitBehavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"

    init(_ configuration: ConfigurationValue) throws(SwiftletError) {
      let name = try configuration.string()
      guard let behavior = Self(rawValue: name) else {
        throw configuration.error(
          "must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous (got \(name.quotedExcerpt))")
      }
      self = behavior
    }
  }

  /// Which parts of the text between added tokens get a leading `replacement`.
  enum PrependScheme: Sendable {
    case always, never
    /// Only a part at the start of the text.
    case first
  }

  private static let supported = [
    "Split", "ByteLevel", "Metaspace", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "CharDelimiterSplit",
    "Sequence",
  ]

  /// The steps of the `pre_tokenizer` of a `tokenizer.json`.
  static func steps(_ configuration: ConfigurationValue) throws(SwiftletError) -> [PreTokenizer] {
    var steps: [PreTokenizer] = []
    for part in try configuration.parts("pretokenizers") { steps += try self.steps(ofPart: part) }
    return steps
  }

  private static func steps(ofPart part: ConfigurationValue) throws(SwiftletError) -> [PreTokenizer] {
    switch try part.type() {
    case "Split": return [try split(part)]
    case "ByteLevel":
      let prefix: [PreTokenizer] = try part.bool("add_prefix_space", default: true) ? [.prefixSpace] : []
      let words: [PreTokenizer] = try part.bool("use_regex", default: true) ? [.scan(WordScanner(shape: .gpt2))] : []
      return prefix + words + [.byteAlphabet]
    case "Metaspace": return [try metaspace(part)]
    case "Digits": return [.digits(individually: try part.bool("individual_digits", default: false))]
    case "Punctuation":
      return [
        .punctuation(try part.member("behavior").map { p throws(SwiftletError) in try SplitBehavior(p) } ?? .isolated)
      ]
    case "Whitespace": return [.whitespace]
    case "WhitespaceSplit": return [.whitespaceSplit]
    case "CharDelimiterSplit": return [.delimiter(try part.required("delimiter").literal())]
    case let type: throw part.unsupportedType(type, supported: supported)
    }
  }

  private static func split(_ part: ConfigurationValue) throws(SwiftletError) -> PreTokenizer {
    let pattern = try part.required("pattern")
    let behavior = try SplitBehavior(try part.required("behavior"))
    let inverted = try part.bool("invert", default: false)
    // A scanner's words cover the whole text, so isolating matches and removing what is not matched are equivalent.
    if let text = pattern.member("Regex"), let scanner = WordScanner(pattern: try text.string()),
      (behavior == .isolated && !inverted) || (behavior == .removed && inverted)
    {
      return .scan(scanner)
    }
    return .split(try TextPattern(pattern), behavior, inverted: inverted)
  }

  private static func metaspace(_ part: ConfigurationValue) throws(SwiftletError) -> PreTokenizer {
    let replacement = try part.member("replacement")?.literal() ?? Array("\u{2581}".utf8)
    let scheme: PrependScheme
    switch try part.member("prepend_scheme")?.string() {
    case "always": scheme = .always
    case "never": scheme = .never
    case "first": scheme = .first
    case nil: scheme = try part.bool("add_prefix_space", default: true) ? .always : .never
    case let other?:
      throw part.error("must have a prepend_scheme of always, never or first (got \(other.quotedExcerpt))")
    }
    return .metaspace(
      replacement: replacement, prepends: scheme, splits: try part.bool("split", default: true))
  }

  /// Applies `steps` to `text` and calls `body` with each resulting word and the transformed text that contains it.
  ///
  /// - Parameter isFirst: whether `text` is at the start of the original text.
  static func forEachWord(
    of text: TrackedText, _ steps: ArraySlice<PreTokenizer>, isFirst: Bool, _ body: (TrackedText, Range<Int>) -> Void
  ) {
    guard let step = steps.first else {
      if !text.isEmpty { body(text, text.range) }
      return
    }
    let rest = steps.dropFirst()
    let text = step.rewritten(text, isFirst: isFirst)
    step.forEachPiece(text.bytes, text.range) { piece in
      if piece.isEmpty { return }
      if rest.isEmpty { return body(text, piece) }
      var part = text
      part.range = piece
      forEachWord(of: part, rest, isFirst: isFirst && piece.lowerBound == text.range.lowerBound, body)
    }
  }

  /// The text after the step's replacements, before it is split.
  private func rewritten(_ text: TrackedText, isFirst: Bool) -> TrackedText {
    switch self {
    case .byteAlphabet: return text.inByteAlphabet()
    case .prefixSpace:
      guard let first = text.bytes[text.range].first, first != 0x20 else { return text }
      return text.prepending([0x20])
    case .metaspace(let replacement, let scheme, _):
      let changed = text.replacing(.literal([0x20]), by: replacement)
      guard scheme == .always || scheme == .first && isFirst,
        !changed.bytes[changed.range].starts(with: replacement)
      else { return changed }
      return changed.prepending(replacement)
    default: return text
    }
  }

  private func forEachPiece(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    switch self {
    case .scan(let scanner): scanner.forEachWord(bytes, range, body)
    case .split(let pattern, let behavior, let inverted):
      var joiner = SplitJoiner(behavior, range, inverted: inverted)
      pattern.forEachMatch(bytes, range) { joiner.match($0, body) }
      joiner.finish(body)
    case .metaspace(let replacement, _, let splits):
      guard splits else { return body(range) }
      var joiner = SplitJoiner(.mergedWithNext, range)
      TextPattern.literal(replacement).forEachMatch(bytes, range) { joiner.match($0, body) }
      joiner.finish(body)
    case .delimiter(let delimiter):
      var joiner = SplitJoiner(.removed, range)
      TextPattern.literal(delimiter).forEachMatch(bytes, range) { joiner.match($0, body) }
      joiner.finish(body)
    case .digits(let individually):
      var joiner = SplitJoiner(individually ? .isolated : .contiguous, range)
      Self.forEachScalar(bytes, range) { category, _, place in
        if UnicodeCategorySet.number.contains(category) { joiner.match(place, body) }
      }
      joiner.finish(body)
    case .punctuation(let behavior):
      var joiner = SplitJoiner(behavior, range)
      Self.forEachScalar(bytes, range) { category, scalar, place in
        if UnicodeCategorySet.punctuation.contains(category) || Self.isASCIISymbol(scalar) { joiner.match(place, body) }
      }
      joiner.finish(body)
    case .whitespaceSplit:
      var joiner = SplitJoiner(.removed, range)
      Self.forEachScalar(bytes, range) { category, _, place in
        if UnicodeCategorySet.whitespace.contains(category) { joiner.match(place, body) }
      }
      joiner.finish(body)
    case .whitespace: Self.forEachWhitespaceWord(bytes, range, body)
    case .byteAlphabet, .prefixSpace: body(range)
    }
  }

  private static func isASCIISymbol(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    default: false
    }
  }

  @inline(__always)
  private static func forEachScalar(_ bytes: [UInt8], _ range: Range<Int>, _ body: (UInt8, UInt32, Range<Int>) -> Void)
  {
    let categories = UnicodeCategories.shared
    var index = range.lowerBound
    while index < range.upperBound {
      let (scalar, length) = decodeScalar(bytes, index, range.upperBound)
      body(categories[scalar], scalar, index..<index + length)
      index += length
    }
  }

  /// Runs of word characters, and runs of characters that are neither word characters nor whitespace.
  private static func forEachWhitespaceWord(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = range.lowerBound
    var kind = 0  // 0: whitespace, 1: word character, 2: other
    forEachScalar(bytes, range) { category, scalar, place in
      let next = isWord(scalar) ? 1 : UnicodeCategorySet.whitespace.contains(category) ? 0 : 2
      if next != kind {
        if kind != 0 { body(start..<place.lowerBound) }
        start = place.lowerBound
        kind = next
      }
    }
    if kind != 0 { body(start..<range.upperBound) }
  }
}
