import Diagnostics
import OrderedJSON

/// One step of a `normalizer`, which changes text before it is split into words.
enum Normalizer: Sendable {
  case form(UnicodeForm)
  case lowercase
  case replace(TextPattern, [UInt8])
  case prepend([UInt8])
  case strip(left: Bool, right: Bool)
  /// Converts bytes to GPT-2's byte alphabet.
  case byteLevel
  /// Removes control characters and replaces other whitespace with a space, like SentencePiece's nmt rules.
  case nmt
  /// Removes combining marks. Decomposed text then has no accents.
  case stripAccents

  private static let supported = [
    "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Replace", "Prepend", "Strip", "StripAccents", "Nmt", "ByteLevel",
    "Sequence",
  ]

  /// The steps of the `normalizer` of a `tokenizer.json`.
  static func steps(_ configuration: ConfigurationValue) throws(SwiftletError) -> [Normalizer] {
    var steps: [Normalizer] = []
    var growth = GrowthLimit()
    for part in try configuration.parts("normalizers") {
      let step = try Normalizer(part)
      switch step {
      case .replace(let pattern, let content): try growth.add(from: pattern.minMatchLength, to: content.count, part)
      // U+FDFA has 3 bytes and a compatibility decomposition of 33.
      case .form(let form): try growth.add(from: 1, to: form.isCompatible ? 11 : 3, part)
      case .byteLevel: try growth.add(from: 1, to: 2, part)
      case .lowercase, .prepend, .strip, .nmt, .stripAccents: break
      }
      steps.append(step)
    }
    return steps
  }

  private init(_ part: ConfigurationValue) throws(SwiftletError) {
    switch try part.type() {
    case "NFC": self = .form(.nfc)
    case "NFD": self = .form(.nfd)
    case "NFKC": self = .form(.nfkc)
    case "NFKD": self = .form(.nfkd)
    case "Lowercase": self = .lowercase
    case "Replace":
      self = .replace(try TextPattern(try part.required("pattern")), try part.required("content").literal())
    case "Prepend": self = .prepend(try part.required("prepend").literal())
    case "Strip":
      self = .strip(
        left: try part.bool("strip_left", default: true), right: try part.bool("strip_right", default: true))
    case "StripAccents": self = .stripAccents
    case "Nmt": self = .nmt
    case "ByteLevel": self = .byteLevel
    case let type: throw part.unsupportedType(type, supported: Self.supported)
    }
  }

  /// The text after this step.
  func apply(_ text: TrackedText) -> TrackedText {
    switch self {
    case .form(let form): text.normalized(form)
    case .lowercase: text.mappingScalars { $0.value < 0x80 ? Self.lowered($0) : Self.mapped($0) }
    case .replace(let pattern, let content): text.replacing(pattern, by: content)
    case .prepend(let prefix): text.prepending(prefix)
    case .strip(let left, let right): text.stripped(left: left, right: right)
    case .byteLevel: text.inByteAlphabet()
    case .nmt: text.mappingScalars(Self.nmt)
    case .stripAccents:
      text.mappingScalars { Self.isStripped($0) ? [] : nil }
    }
  }

  private static func isStripped(_ scalar: Unicode.Scalar) -> Bool {
    UnicodeCategorySet.mark.contains(UnicodeCategories.shared[scalar.value])
      && !UnicodeCategoryTable.marksKept.contains { $0.contains(scalar.value) }
  }

  private static func lowered(_ scalar: Unicode.Scalar) -> [UInt8]? {
    (0x41...0x5A).contains(scalar.value) ? [UInt8(scalar.value) + 32] : nil
  }

  private static func mapped(_ scalar: Unicode.Scalar) -> [UInt8]? {
    let mapping = scalar.properties.lowercaseMapping.utf8
    return mapping.elementsEqual(String(scalar).utf8) ? nil : Array(mapping)
  }

  private static func nmt(_ scalar: Unicode.Scalar) -> [UInt8]? {
    switch scalar.value {
    case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: []
    case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: [0x20]
    default: nil
    }
  }
}

extension TrackedText {
  /// Replaces each scalar with the UTF-8 that `mapping` returns for it; `nil` keeps the scalar.
  func mappingScalars(_ mapping: (Unicode.Scalar) -> [UInt8]?) -> TrackedText {
    var rewriter: Rewriter?
    var copied = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      let (value, length) = decodeScalar(bytes, index, range.upperBound)
      if let scalar = Unicode.Scalar(value), let replacement = mapping(scalar) {
        var changed = rewriter ?? self.rewriter()
        rewriter = nil
        changed.copy(copied..<index)
        changed.replace(index..<index + length, by: replacement)
        rewriter = changed
        copied = index + length
      }
      index += length
    }
    guard var rewriter else { return self }
    rewriter.copy(copied..<range.upperBound)
    return rewriter.finish()
  }

  func replacing(_ pattern: TextPattern, by content: [UInt8]) -> TrackedText {
    var rewriter = self.rewriter()
    var copied = range.lowerBound
    pattern.forEachMatch(bytes, range) { match in
      rewriter.copy(copied..<match.lowerBound)
      rewriter.replace(match, by: content)
      copied = match.upperBound
    }
    if copied == range.lowerBound { return self }
    rewriter.copy(copied..<range.upperBound)
    return rewriter.finish()
  }

  /// The text with `prefix` before it, unless the text is empty.
  func prepending(_ prefix: [UInt8]) -> TrackedText {
    if range.isEmpty || prefix.isEmpty { return self }
    var rewriter = self.rewriter()
    rewriter.replace(range.lowerBound..<range.lowerBound, by: prefix)
    rewriter.copy(range)
    return rewriter.finish()
  }

  func stripped(left: Bool, right: Bool) -> TrackedText {
    var text = self
    var first = range.upperBound
    var last = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      let (scalar, length) = decodeScalar(bytes, index, range.upperBound)
      if !isWhitespace(scalar) {
        first = min(first, index)
        last = index + length
      }
      index += length
    }
    if first == range.upperBound { last = first }
    text.range =
      (left ? first : range.lowerBound)..<(right ? max(last, left ? first : range.lowerBound) : range.upperBound)
    if !left, right, first == range.upperBound { text.range = range.lowerBound..<range.lowerBound }
    return text
  }

  /// The text with each byte converted to its character in GPT-2's byte alphabet.
  func inByteAlphabet() -> TrackedText {
    var rewriter = self.rewriter()
    for index in range { rewriter.replace(index..<index + 1, by: ByteAlphabet.utf8[Int(bytes[index])]) }
    return rewriter.finish()
  }
}
