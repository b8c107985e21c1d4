import Diagnostics
import OrderedJSON

/// A value of a configuration file with its place there, so that errors can name it.
struct ConfigurationValue: Sendable {
  let value: JSONValue
  /// "tokenizer.json: model.vocab".
  let place: String

  func error(_ problem: String) -> SwiftletError { SwiftletError.tokenizer("\(place) \(problem).") }

  /// The member `key`; `nil` where it is missing or null, or this is not an object.
  func member(_ key: String) -> ConfigurationValue? {
    guard let member = value[key], !member.isNull else { return nil }
    return ConfigurationValue(value: member, place: child(key))
  }

  private func child(_ key: String) -> String { place.hasSuffix(":") ? "\(place) \(key)" : "\(place).\(key)" }

  func required(_ key: String) throws(SwiftletError) -> ConfigurationValue {
    guard case .object = value else { throw error("is \(value.kind), but an object is needed") }
    guard let member = member(key) else {
      throw SwiftletError.tokenizer("\(child(key)) is missing; save the tokenizer again with its own library.")
    }
    return member
  }

  func string() throws(SwiftletError) -> String {
    guard let text = value.string else { throw error("is \(value.kind), but a string is needed") }
    return text
  }

  func bool() throws(SwiftletError) -> Bool {
    guard let truth = value.bool else { throw error("is \(value.kind), but true or false is needed") }
    return truth
  }

  func integer() throws(SwiftletError) -> Int {
    guard let number = value.integer else { throw error("is \(value.kind), but a whole number is needed") }
    return number
  }

  func object() throws(SwiftletError) -> JSONObject {
    guard let object = value.object else { throw error("is \(value.kind), but an object is needed") }
    return object
  }

  func elements() throws(SwiftletError) -> [ConfigurationValue] {
    guard let elements = value.array else { throw error("is \(value.kind), but an array is needed") }
    return elements.enumerated().map { ConfigurationValue(value: $0.element, place: "\(place)[\($0.offset)]") }
  }

  func string(_ key: String) throws(SwiftletError) -> String { try required(key).string() }

  func bool(_ key: String, default fallback: Bool) throws(SwiftletError) -> Bool {
    try member(key)?.bool() ?? fallback
  }

  /// The member `type`, by which the parts of a tokenizer are told apart.
  func type() throws(SwiftletError) -> String { try string("type") }

  /// The error for a `type` that is not one of `known`.
  func unknownType(_ type: String, known: [String]) -> SwiftletError {
    error("has the type \(type), which Swiftlet does not know; it knows \(known.joined(separator: ", "))")
  }

  /// A part that may be given as a sequence of parts under `key`.
  func parts(_ key: String) throws(SwiftletError) -> [ConfigurationValue] {
    guard try type() == "Sequence" else { return [self] }
    var parts: [ConfigurationValue] = []
    for element in try required(key).elements() { parts += try element.parts(key) }
    return parts
  }
}
