import Diagnostics

extension JSONValue {
  /// Parses one JSON value (RFC 8259). Nothing but white space may surround it.
  ///
  /// Also accepts Python's extensions `NaN`, `Infinity` and `-Infinity`. An unpaired surrogate escape becomes U+FFFD,
  /// because a `String` cannot hold it.
  /// - Throws: `SwiftletError` with the line and the cause, also for more than 512 levels of nesting and invalid UTF-8.
  public init(parsing bytes: some Sequence<UInt8>) throws(SwiftletError) {
    var bytes = ContiguousArray(bytes)
    bytes.append(0)  // A sentinel, so that looking ahead needs no bounds check.
    var parser = JSONParser(bytes: bytes)
    self = try parser.document()
  }

  /// Parses one JSON value from a string. Same rules as for bytes.
  public init(parsing text: String) throws(SwiftletError) { try self.init(parsing: text.utf8) }
}

struct JSONParser {
  let bytes: ContiguousArray<UInt8>  // ends with the sentinel
  var position = 0
  static let maximumDepth = 512

  init(bytes: ContiguousArray<UInt8>) { self.bytes = bytes }

  mutating func document() throws(SwiftletError) -> JSONValue {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    let value = try value(depth: 0)
    skipSpace()
    if position < bytes.count - 1 { throw error("unexpected data after the value") }
    return value
  }

  func error(_ reason: String, at offset: Int? = nil) -> SwiftletError {
    let offset = offset ?? position
    let line = 1 + bytes[..<min(offset, bytes.count)].reduce(0) { $1 == 10 ? $0 + 1 : $0 }
    return SwiftletError.json(line: line, reason: reason)
  }

  mutating func skipSpace() {
    while true {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      default: return
      }
    }
  }

  mutating func value(depth: Int) throws(SwiftletError) -> JSONValue {
    if depth > Self.maximumDepth { throw error("nested deeper than \(Self.maximumDepth) levels") }
    skipSpace()
    switch bytes[position] {
    case UInt8(ascii: "{"): return .object(try object(depth: depth))
    case UInt8(ascii: "["): return .array(try array(depth: depth))
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "N"): return try literal("NaN", .number(.nan))
    case UInt8(ascii: "I"): return try literal("Infinity", .number(.infinity))
    case UInt8(ascii: "-") where bytes[position + 1] == UInt8(ascii: "I"):
      return try literal("-Infinity", .number(-.infinity))
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case 0 where position == bytes.count - 1: throw error("unexpected end of text, expected a value")
    default: throw error("expected a value")
    }
  }

  mutating func literal(_ word: StaticString, _ value: JSONValue) throws(SwiftletError) -> JSONValue {
    let word = word.description.utf8
    guard bytes[position...].starts(with: word) else { throw error("expected a value") }
    position += word.count
    return value
  }

  mutating func number() throws(SwiftletError) -> JSONValue {
    let start = position
    if bytes[position] == UInt8(ascii: "-") { position += 1 }
    func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    let firstDigit = position
    while isDigit(bytes[position]) { position += 1 }
    let digits = position - firstDigit
    if digits == 0 { throw error("expected a digit") }
    if digits > 1, bytes[firstDigit] == UInt8(ascii: "0") {
      throw error("a number cannot start with a zero", at: start)
    }
    var isInteger = true
    if bytes[position] == UInt8(ascii: ".") {
      isInteger = false
      position += 1
      if !isDigit(bytes[position]) { throw error("expected a digit after the decimal point") }
      while isDigit(bytes[position]) { position += 1 }
    }
    if bytes[position] == UInt8(ascii: "e") || bytes[position] == UInt8(ascii: "E") {
      isInteger = false
      position += 1
      if bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") { position += 1 }
      if !isDigit(bytes[position]) { throw error("expected a digit in the exponent") }
      while isDigit(bytes[position]) { position += 1 }
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger { return Int(text).map { .integer($0) } ?? .largeInteger(text) }
    guard let value = Double(text) else { throw error("not a number", at: start) }
    return .number(value)
  }

  mutating func array(depth: Int) throws(SwiftletError) -> [JSONValue] {
    position += 1
    var elements: [JSONValue] = []
    skipSpace()
    if bytes[position] == UInt8(ascii: "]") {
      position += 1
      return elements
    }
    while true {
      elements.append(try value(depth: depth + 1))
      skipSpace()
      switch bytes[position] {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "]"):
        position += 1
        return elements
      default: throw error(isAtEnd ? "unexpected end of text inside an array" : "expected a comma or a closing bracket")
      }
    }
  }

  mutating func object(depth: Int) throws(SwiftletError) -> JSONObject {
    position += 1
    var members: [(key: String, value: JSONValue)] = []
    skipSpace()
    if bytes[position] == UInt8(ascii: "}") {
      position += 1
      return JSONObject()
    }
    while true {
      skipSpace()
      guard bytes[position] == UInt8(ascii: "\"") else {
        throw error(isAtEnd ? "unexpected end of text inside an object" : "expected a quoted key")
      }
      let key = try string()
      skipSpace()
      guard bytes[position] == UInt8(ascii: ":") else { throw error("expected a colon after a key") }
      position += 1
      members.append((key, try value(depth: depth + 1)))
      skipSpace()
      switch bytes[position] {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "}"):
        position += 1
        return Self.distinct(members)
      default: throw error(isAtEnd ? "unexpected end of text inside an object" : "expected a comma or a closing brace")
      }
    }
  }

  private var isAtEnd: Bool { position >= bytes.count - 1 }

  /// The members with duplicate keys merged: the first position, the last value. Few members are compared pairwise,
  /// which is faster than hashing.
  static func distinct(_ members: [(key: String, value: JSONValue)]) -> JSONObject {
    if members.count <= 8 {
      var repeated = false
      for i in members.indices.dropFirst() {
        for j in 0..<i where JSONObject.sameBytes(members[i].key, members[j].key) { repeated = true }
      }
      if !repeated { return JSONObject(distinct: members) }
    }
    var indices: [ContiguousArray<UInt8>: Int] = Dictionary(minimumCapacity: members.count)
    var kept: [(key: String, value: JSONValue)] = []
    kept.reserveCapacity(members.count)
    for member in members {
      let key = ContiguousArray(member.key.utf8)
      if let index = indices[key] {
        kept[index].value = member.value
      } else {
        indices[key] = kept.count
        kept.append(member)
      }
    }
    return JSONObject(distinct: kept)
  }

  mutating func string() throws(SwiftletError) -> String {
    position += 1
    let start = position
    while true {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        let text = try validated(bytes[start..<position], at: start)
        position += 1
        return text
      case UInt8(ascii: "\\"): return try escapedString(from: start)
      case 0..<0x20:
        throw error(isAtEnd ? "unexpected end of text inside a string" : "unescaped control character in a string")
      default: position += 1
      }
    }
  }

  private func validated(_ utf8: some Collection<UInt8>, at start: Int) throws(SwiftletError) -> String {
    guard let text = String(validating: utf8, as: UTF8.self) else { throw error("invalid UTF-8", at: start) }
    return text
  }

  /// The rest of a string from its first backslash on.
  private mutating func escapedString(from start: Int) throws(SwiftletError) -> String {
    var content = Array(bytes[start..<position])
    while true {
      let byte = bytes[position]
      switch byte {
      case UInt8(ascii: "\""):
        let text = try validated(content, at: start)
        position += 1
        return text
      case UInt8(ascii: "\\"):
        position += 1
        let escape = bytes[position]
        position += 1
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(escape)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0C)
        case UInt8(ascii: "n"): content.append(0x0A)
        case UInt8(ascii: "r"): content.append(0x0D)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"): content.append(contentsOf: String(try unicodeEscape()).utf8)
        default: throw error("unknown escape", at: position - 2)
        }
      case 0..<0x20:
        throw error(isAtEnd ? "unexpected end of text inside a string" : "unescaped control character in a string")
      default:
        content.append(byte)
        position += 1
      }
    }
  }

  /// The scalar of a `\u` escape, joined with the next escape if the two are a surrogate pair.
  private mutating func unicodeEscape() throws(SwiftletError) -> Unicode.Scalar {
    let first = try fourDigits()
    if let scalar = Unicode.Scalar(first) { return scalar }
    if first < 0xDC00, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u") {
      let back = position
      position += 2
      let second = try fourDigits()
      if (0xDC00..<0xE000).contains(second),
        let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
      {
        return scalar
      }
      position = back
    }
    return "\u{FFFD}"
  }

  private mutating func fourDigits() throws(SwiftletError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      switch bytes[position] {
      case let byte where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"): value = value << 4 | UInt32(byte - 48)
      case let byte where byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"): value = value << 4 | UInt32(byte - 87)
      case let byte where byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "F"): value = value << 4 | UInt32(byte - 55)
      default: throw error("expected four hexadecimal digits")
      }
      position += 1
    }
    return value
  }
}
