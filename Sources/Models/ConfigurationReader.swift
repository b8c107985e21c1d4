import Diagnostics
import OrderedJSON

/// Reads keys of a JSON configuration. A missing or mistyped key is an error that names the file and the key.
struct ConfigurationReader {
  let json: JSONValue
  /// The file, and the section in it, for errors.
  let path: String

  func error(_ reason: String) -> SwiftletError { SwiftletError.model(reason, in: path) }

  func string(_ key: String) throws(SwiftletError) -> String {
    guard let value = json[key] else { throw error("\"\(key)\" is missing; check that this is the right file") }
    guard let text = value.string else { throw error("\"\(key)\" must be a string, not \(value.kind)") }
    return text
  }

  /// A positive integer.
  func size(_ key: String, atMost limit: Int = 1 << 31) throws(SwiftletError) -> Int {
    guard let value = try optionalSize(key, atMost: limit) else {
      throw error("\"\(key)\" is missing; check that this is the right file")
    }
    return value
  }

  func optionalSize(_ key: String, atMost limit: Int = 1 << 31) throws(SwiftletError) -> Int? {
    guard let value = json[key], !value.isNull else { return nil }
    guard let number = value.integer, number > 0, number <= limit else {
      throw error("\"\(key)\" must be a positive integer, at most \(limit)")
    }
    return number
  }

  func optionalNumber(_ key: String) throws(SwiftletError) -> Double? {
    guard let value = json[key], !value.isNull else { return nil }
    guard let number = value.double, number.isFinite else {
      throw error("\"\(key)\" must be a number, not \(value.kind)")
    }
    return number
  }

  func optionalBool(_ key: String) throws(SwiftletError) -> Bool? {
    guard let value = json[key], !value.isNull else { return nil }
    guard let truth = value.bool else { throw error("\"\(key)\" must be true or false, not \(value.kind)") }
    return truth
  }

  func numbers(_ key: String) throws(SwiftletError) -> [Double] {
    guard let elements = json[key]?.array else { throw error("\"\(key)\" must be a list of numbers") }
    var numbers: [Double] = []
    for element in elements {
      guard let number = element.double else { throw error("\"\(key)\" must be a list of numbers") }
      numbers.append(number)
    }
    return numbers
  }

  /// Throws if `key` names an activation other than the one the family's MLP computes.
  func checkActivation(_ key: String, isOneOf known: [String]) throws(SwiftletError) {
    guard let name = json[key]?.string, !known.contains(name) else { return }
    throw error("\"\(key)\": \(name.quotedExcerpt) is not supported; this model_type uses \(known[0])")
  }

  /// The same configuration with another value under `key`; unchanged if `value` is `nil`.
  func replacing(_ key: String, by value: JSONValue?) -> ConfigurationReader {
    guard let value, var object = json.object else { return self }
    object[key] = value
    return ConfigurationReader(json: .object(object), path: path)
  }

  /// A reader for the object under `key`; `nil` if there is none.
  func section(_ key: String) -> ConfigurationReader? {
    guard let value = json[key], case .object = value else { return nil }
    return ConfigurationReader(json: value, path: "\(path), \"\(key)\"")
  }
}
