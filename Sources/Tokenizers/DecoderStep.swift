import Diagnostics
import OrderedJSON

/// One step of a `decoder` in `tokenizer.json`. Steps transform a list of byte strings, initially one per token.
enum DecoderStep: Sendable {
  /// Maps the characters of GPT-2's byte alphabet to bytes.
  case byteLevel
  /// Replaces the byte tokens `<0x00>`...`<0xFF>` with bytes.
  case byteFallback
  /// Joins all strings into one.
  case fuse
  /// Removes up to `start` and `stop` copies of `content` from the ends of each string.
  case strip(content: [UInt8], start: Int, stop: Int)
  case replace(TextPattern, [UInt8])
  /// Replaces `replacement` with a space, or removes it at the start of the first string if `dropsFirst`.
  case metaspace(replacement: [UInt8], dropsFirst: Bool)
  /// Replaces an end-of-word suffix with a space, or removes it from the last token.
  case suffix([UInt8])

  private static let supported = [
    "ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace", "BPEDecoder", "Sequence",
  ]

  /// The steps of the `decoder` of a `tokenizer.json`.
  static func steps(_ configuration: ConfigurationValue) throws(SwiftletError) -> [DecoderStep] {
    var steps: [DecoderStep] = []
    var growth = GrowthLimit()
    for part in try configuration.parts("decoders") {
      let step = try DecoderStep(part)
      if case .replace(let pattern, let content) = step {
        try growth.add(from: pattern.minMatchLength, to: content.count, part)
      }
      steps.append(step)
    }
    return steps
  }

  private init(_ part: ConfigurationValue) throws(SwiftletError) {
    switch try part.type() {
    case "ByteLevel": self = .byteLevel
    case "ByteFallback": self = .byteFallback
    case "Fuse": self = .fuse
    case "Strip":
      self = .strip(
        content: try part.required("content").literal(), start: max(0, try part.required("start").integer()),
        stop: max(0, try part.required("stop").integer()))
    case "Replace":
      self = .replace(try TextPattern(try part.required("pattern")), try part.required("content").literal())
    case "Metaspace":
      let scheme = try part.member("prepend_scheme")?.string() ?? "always"
      let adds = try part.bool("add_prefix_space", default: true)
      self = .metaspace(
        replacement: try part.member("replacement")?.literal() ?? Array("\u{2581}".utf8),
        dropsFirst: adds && scheme != "never")
    case "BPEDecoder": self = .suffix(try part.member("suffix")?.literal() ?? Array("</w>".utf8))
    case let type: throw part.unsupportedType(type, supported: Self.supported)
    }
  }
}
