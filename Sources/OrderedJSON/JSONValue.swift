/// A JSON value that preserves what training data needs: the order of keys, the difference between `1` and `1.0`, every
/// digit of an integer, and the exact bytes of every string. (Swift's `String ==` is canonical equivalence; strings and
/// keys here compare byte by byte.)
public enum JSONValue: Sendable {
  /// The literal `null`, which is distinct from a missing member.
  case null
  /// The literal `true` or `false`.
  case bool(Bool)
  /// A number without fraction and exponent that fits in 64 bits.
  case integer(Int)
  /// An integer that does not fit in 64 bits, as its digits with an optional minus sign.
  case largeInteger(String)
  /// A number with a fraction or an exponent, rounded to the nearest double.
  case number(Double)
  /// A string, compared by bytes.
  case string(String)
  /// The elements of an array, in file order.
  case array([JSONValue])
  /// The members of an object, in file order.
  case object(JSONObject)
}

/// The members of a JSON object in file order. If a key appears twice, the last value wins, as in Python's `json`.
public struct JSONObject: Sendable {
  /// Key and value in order; keys are unique by their UTF-8 bytes.
  public private(set) var members: [(key: String, value: JSONValue)] = []

  /// Creates an empty object.
  public init() {}

  /// Creates an object. A later duplicate of a key replaces the value and keeps the position of the first.
  public init(_ members: [(String, JSONValue)]) { self = JSONParser.distinct(members.map { (key: $0, value: $1) }) }

  /// Creates an object from a Swift dictionary, its keys sorted by their bytes.
  public init(_ dictionary: [String: JSONValue]) {
    let sorted = dictionary.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    self.init(sorted.map { ($0.key, $0.value) })
  }

  /// Creates an object from members whose keys the caller knows to be distinct.
  package init(distinct members: [(key: String, value: JSONValue)]) { self.members = members }

  /// The number of members.
  public var count: Int { members.count }

  /// The keys in order.
  public var keys: [String] { members.map(\.key) }

  /// The value of `key`, or `nil` if there is none. Setting `nil` removes the member.
  ///
  /// - Complexity: O(n). The only large objects in practice, vocabularies, are iterated and never looked up.
  public subscript(key: String) -> JSONValue? {
    get { index(of: key).map { members[$0].value } }
    set {
      switch (index(of: key), newValue) {
      case (let index?, let value?): members[index].value = value
      case (let index?, nil): members.remove(at: index)
      case (nil, let value?): members.append((key, value))
      case (nil, nil): break
      }
    }
  }

  private func index(of key: String) -> Int? {
    members.firstIndex { JSONObject.sameBytes($0.key, key) }
  }

  static func sameBytes(_ a: String, _ b: String) -> Bool {
    a.utf8.count == b.utf8.count && a.utf8.elementsEqual(b.utf8)
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral, Hashable {
  /// Creates an object whose members keep the order of the literal.
  public init(dictionaryLiteral elements: (String, JSONValue)...) { self.init(elements) }

  /// Whether both have the same keys and values, in any order.
  public static func == (a: JSONObject, b: JSONObject) -> Bool {
    a.count == b.count && a.members.allSatisfy { b[$0.key] == $0.value }
  }

  /// Hashes the number of members, which does not depend on their order.
  public func hash(into hasher: inout Hasher) { hasher.combine(count) }
}

extension JSONValue {
  /// The member `key` of an object; `nil` for anything else.
  public subscript(key: String) -> JSONValue? {
    if case .object(let object) = self { object[key] } else { nil }
  }

  /// The element at `index` of an array; `nil` for anything else and out of range.
  public subscript(index: Int) -> JSONValue? {
    if case .array(let elements) = self, elements.indices.contains(index) { elements[index] } else { nil }
  }

  /// The text of a string; `nil` for anything else.
  public var string: String? { if case .string(let text) = self { text } else { nil } }
  /// The value of a boolean; `nil` for anything else.
  public var bool: Bool? { if case .bool(let truth) = self { truth } else { nil } }
  /// The elements of an array; `nil` for anything else.
  public var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
  /// The members of an object; `nil` for anything else.
  public var object: JSONObject? { if case .object(let object) = self { object } else { nil } }
  /// Whether this is JSON's `null`.
  public var isNull: Bool { if case .null = self { true } else { false } }

  /// The value of a number that is integral and fits in 64 bits, such as `7` or `7.0`; `nil` for anything else.
  public var integer: Int? {
    switch self {
    case .integer(let value): value
    case .number(let value): Int(exactly: value)
    default: nil
    }
  }

  /// The value of any number, rounded to a `Double`; `nil` for anything else.
  public var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .largeInteger(let digits): Double(digits)
    case .number(let value): value
    default: nil
    }
  }

  /// The kind of value with its article, for error messages: "a string", "an array", ...
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .integer, .largeInteger, .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

extension JSONValue: Hashable {
  /// Compares content: strings by bytes, objects regardless of order, and `1` equal to `1.0` as in Python.
  public static func == (a: JSONValue, b: JSONValue) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let x), .bool(let y)): x == y
    case (.integer(let x), .integer(let y)): x == y
    case (.integer, .number), (.number, .integer), (.number, .number): a.double == b.double
    case (.largeInteger(let x), .largeInteger(let y)): x == y
    case (.largeInteger(let x), .number(let y)), (.number(let y), .largeInteger(let x)): y.integerDigits == x
    case (.string(let x), .string(let y)): JSONObject.sameBytes(x, y)
    case (.array(let x), .array(let y)): x == y
    case (.object(let x), .object(let y)): x == y
    default: false
    }
  }

  /// Hashes what `==` compares.
  public func hash(into hasher: inout Hasher) {
    switch self {
    case .null: hasher.combine(0)
    case .bool(let value): hasher.combine(value)
    case .integer, .largeInteger, .number: hasher.combine(double)
    case .string(let value): for byte in value.utf8 { hasher.combine(byte) }
    case .array(let elements): hasher.combine(elements)
    case .object(let object): hasher.combine(object)
    }
  }
}

extension JSONValue: Codable {
  private struct MemberKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
  }

  /// Decodes any JSON value. Decoders that do not preserve the order of keys yield them in their own order.
  public init(from decoder: any Swift.Decoder) throws {
    if let container = try? decoder.container(keyedBy: MemberKey.self) {
      self = .object(
        JSONObject(
          try container.allKeys.map { ($0.stringValue, try container.decode(JSONValue.self, forKey: $0)) }))
      return
    }
    if var container = try? decoder.unkeyedContainer() {
      var elements: [JSONValue] = []
      while !container.isAtEnd { elements.append(try container.decode(JSONValue.self)) }
      self = .array(elements)
      return
    }
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else {
      self = .string(try container.decode(String.self))
    }
  }

  /// Encodes the value. An integer beyond 64 bits is encoded as a `Double`, since encoders accept nothing longer.
  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .object(let object):
      var container = encoder.container(keyedBy: MemberKey.self)
      for member in object.members { try container.encode(member.value, forKey: MemberKey(stringValue: member.key)) }
    case .array(let elements):
      var container = encoder.unkeyedContainer()
      for element in elements { try container.encode(element) }
    default:
      var container = encoder.singleValueContainer()
      switch self {
      case .bool(let value): try container.encode(value)
      case .integer(let value): try container.encode(value)
      case .largeInteger, .number: try container.encode(double)
      case .string(let text): try container.encode(text)
      default: try container.encodeNil()
      }
    }
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  /// Creates a string value.
  public init(stringLiteral value: String) { self = .string(value) }
  /// Creates an integer value.
  public init(integerLiteral value: Int) { self = .integer(value) }
  /// Creates a number with a fraction, also for literals such as `1.0`.
  public init(floatLiteral value: Double) { self = .number(value) }
  /// Creates a boolean value.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// Creates an array value.
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// Creates an object value; the last of two equal keys wins.
  public init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(JSONObject(elements)) }
  /// Creates JSON's `null`.
  public init(nilLiteral: ()) { self = .null }
}
