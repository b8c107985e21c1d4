import Essentials
import OrderedJSON

/// A type that the value of a recipe key can have.
protocol RecipeConvertible: Sendable {
  /// What a value must be, as in "must be an integer".
  static var expectation: String { get }
  /// What a list of these must be, as in "must be a list of strings".
  static var listExpectation: String { get }
  /// Reads a value.
  init(_ value: RecipeValue) throws(RecipeValueError)
  /// The value in `training_args.json` and in the documentation of keys.
  var json: JSONValue { get }
}

extension RecipeConvertible {
  static var listExpectation: String { "a list (each \(expectation))" }
}

extension Bool: RecipeConvertible {
  static var expectation: String { "true or false" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value else { throw .mismatch(value, expected: Self.expectation) }
    switch text.lowercased() {
    case "true", "yes", "on", "y", "t", "1": self = true
    case "false", "no", "off", "n", "f", "0": self = false
    default: throw .mismatch(value, expected: Self.expectation)
    }
  }

  var json: JSONValue { .bool(self) }
}

extension Int: RecipeConvertible {
  static var expectation: String { "an integer" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value, let number = Int(text.filter { $0 != "_" }) else {
      throw .mismatch(value, expected: Self.expectation)
    }
    self = number
  }

  var json: JSONValue { .integer(self) }
}

extension UInt64: RecipeConvertible {
  static var expectation: String { "an integer of at least 0" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard let number = UInt64(exactly: try Int(value)) else { throw .mismatch(value, expected: Self.expectation) }
    self = number
  }

  var json: JSONValue { .integer(Int(clamping: self)) }
}

extension Double: RecipeConvertible {
  static var expectation: String { "a number" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value, let number = Double(text.filter { $0 != "_" }), number.isFinite else {
      throw .mismatch(value, expected: Self.expectation)
    }
    self = number
  }

  var json: JSONValue { .number(self) }
}

extension Float: RecipeConvertible {
  static var expectation: String { Double.expectation }

  init(_ value: RecipeValue) throws(RecipeValueError) { self = Float(try Double(value)) }

  /// The shortest number that is read back as this one.
  var json: JSONValue { .number(Double("\(self)") ?? Double(self)) }
}

extension String: RecipeConvertible {
  static var expectation: String { "a string" }
  static var listExpectation: String { "a list of strings" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value, !value.isNull else { throw .mismatch(value, expected: Self.expectation) }
    self = text
  }

  var json: JSONValue { .string(self) }
}

extension Optional: RecipeConvertible where Wrapped: RecipeConvertible {
  /// "an integer or null"; a longer enumeration gets null as its last element.
  static var expectation: String {
    let wrapped = Wrapped.expectation
    if let conjunction = wrapped.firstRange(of: ", or ") {
      return "\(wrapped[..<conjunction.lowerBound]), \(wrapped[conjunction.upperBound...]), or null"
    }
    guard let conjunction = wrapped.firstRange(of: " or ") else { return wrapped + " or null" }
    return "\(wrapped[..<conjunction.lowerBound]), \(wrapped[conjunction.upperBound...]) or null"
  }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    self = value.isNull ? nil : try Wrapped(value)
  }

  var json: JSONValue { self?.json ?? .null }
}

extension Array: RecipeConvertible where Element: RecipeConvertible {
  static var expectation: String { Element.listExpectation }

  /// A single value is a list of one element, as on the command line.
  init(_ value: RecipeValue) throws(RecipeValueError) {
    switch value {
    case _ where value.isNull: self = []
    case .list(let elements):
      self = []
      for (index, element) in elements.enumerated() {
        do { append(try Element(element)) } catch { throw error.inside("[\(index)]") }
      }
    default: self = [try Element(value)]
    }
  }

  var json: JSONValue { .array(map(\.json)) }
}

/// An enumeration whose raw values are words in a recipe.
protocol RecipeWord: RecipeConvertible, RawRepresentable, CaseIterable where RawValue == String {}

extension RecipeWord {
  static var expectation: String {
    let words = allCases.map(\.rawValue)
    return words.count < 2
      ? words.joined() : "\(words.dropLast().joined(separator: ", ")) or \(words[words.count - 1])"
  }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value, let word = Self(rawValue: text.lowercased()) else {
      throw .mismatch(value, expected: Self.expectation)
    }
    self = word
  }

  var json: JSONValue { .string(rawValue) }
}

/// The members of a mapping.
struct RecipeMembers {
  private var members: [(key: String, value: RecipeValue)]
  private let allowed: [String]

  /// - Throws: `RecipeValueError` if `value` is not a mapping, or has a member outside `allowed`.
  init(_ value: RecipeValue, allowed: [String], expected: String) throws(RecipeValueError) {
    guard case .mapping(let members) = value.unwrapped else { throw .mismatch(value, expected: expected) }
    for member in members where !allowed.contains(member.key) {
      let nearest = EditDistance.nearest(to: member.key, among: allowed)
      let hint = nearest.map { "did you mean \($0)?" } ?? "its members are \(allowed.joined(separator: ", "))"
      throw RecipeValueError(reason: "has an unknown member \(member.key); \(hint)")
    }
    self.members = members
    self.allowed = allowed
  }

  /// The member `key`; `nil` if it is missing or null.
  func optional<Value: RecipeConvertible>(_ key: String, as: Value.Type = Value.self) throws(RecipeValueError) -> Value?
  {
    guard let value = members.first(where: { $0.key == key })?.value, !value.isNull else { return nil }
    do { return try Value(value) } catch { throw error.inside(".\(key)") }
  }

  /// The member `key`.
  /// - Throws: `RecipeValueError` if it is missing or null.
  func required<Value: RecipeConvertible>(_ key: String, as: Value.Type = Value.self) throws(RecipeValueError) -> Value
  {
    guard let value: Value = try optional(key) else { throw RecipeValueError(reason: "must have a member \(key)") }
    return value
  }
}
