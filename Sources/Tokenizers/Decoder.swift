import Diagnostics
import OrderedJSON

/// One step of making text of tokens; the steps work on a list of byte strings, at first one a token.
enum DecoderStep: Sendable {
  case byteLevel
  /// Makes the byte tokens `<0x00>`...`<0xFF>` bytes.
  case byteFallback
  /// Joins all strings.
  case fuse
  /// Removes up to so many of `content` from either end of each string.
  case strip(content: [UInt8], start: Int, stop: Int)
  case replace(TextPattern, [UInt8])
  /// Makes `replacement` a space, and drops it at the start of the first string where `dropsFirst` says so.
  case metaspace(replacement: [UInt8], dropsFirst: Bool)
  /// Makes an end-of-word suffix a space, none after the last token.
  case suffix([UInt8])

  private static let known = [
    "ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace", "BPEDecoder", "Sequence",
  ]

  /// The steps of the `decoder` of a `tokenizer.json`.
  static func steps(_ configuration: ConfigurationValue) throws(SwiftletError) -> [DecoderStep] {
    var steps: [DecoderStep] = []
    for part in try configuration.parts("decoders") { steps.append(try DecoderStep(part)) }
    return steps
  }

  private init(_ part: ConfigurationValue) throws(SwiftletError) {
    switch try part.type() {
    case "ByteLevel": self = .byteLevel
    case "ByteFallback": self = .byteFallback
    case "Fuse": self = .fuse
    case "Strip":
      self = .strip(
        content: Array(try part.string("content").utf8), start: max(0, try part.required("start").integer()),
        stop: max(0, try part.required("stop").integer()))
    case "Replace":
      self = .replace(try TextPattern(try part.required("pattern")), Array(try part.string("content").utf8))
    case "Metaspace":
      let scheme = try part.member("prepend_scheme")?.string() ?? "always"
      let adds = try part.bool("add_prefix_space", default: true)
      self = .metaspace(
        replacement: Array((try part.member("replacement")?.string() ?? "\u{2581}").utf8),
        dropsFirst: adds && scheme != "never")
    case "BPEDecoder": self = .suffix(Array((try part.member("suffix")?.string() ?? "</w>").utf8))
    case let type: throw part.unknownType(type, known: Self.known)
    }
  }
}
