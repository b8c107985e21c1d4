import Diagnostics
import OrderedJSON

/// Reads the members of a request's JSON object. Members that are null count as missing.
struct RequestReader {
  let json: JSONValue

  private func member(_ name: String) -> JSONValue? {
    guard let value = json[name], !value.isNull else { return nil }
    return value
  }

  private func wrongType(_ name: String, _ expected: String) -> APIError {
    .invalidRequest("\"\(name)\" must be \(expected), not \(json[name]?.kind ?? "nothing").", parameter: name)
  }

  func string(_ name: String) throws(APIError) -> String? {
    guard let value = member(name) else { return nil }
    guard let string = value.string else { throw wrongType(name, "a string") }
    return string
  }

  func bool(_ name: String) throws(APIError) -> Bool? {
    guard let value = member(name) else { return nil }
    guard let bool = value.bool else { throw wrongType(name, "true or false") }
    return bool
  }

  func integer(_ name: String, in range: ClosedRange<Int>) throws(APIError) -> Int? {
    guard let value = member(name) else { return nil }
    guard let integer = value.integer, range.contains(integer) else {
      throw wrongRange(name, "an integer", "\(range.lowerBound)", "\(range.upperBound)")
    }
    return integer
  }

  func number(_ name: String, in range: ClosedRange<Double>) throws(APIError) -> Float? {
    try double(name, in: range).map { Float($0) }
  }

  func double(_ name: String, in range: ClosedRange<Double>) throws(APIError) -> Double? {
    guard let value = member(name) else { return nil }
    guard let number = value.double, range.contains(number) else {
      throw wrongRange(name, "a number", "\(range.lowerBound)", "\(range.upperBound)")
    }
    return number
  }

  private func wrongRange(_ name: String, _ kind: String, _ low: String, _ high: String) -> APIError {
    .invalidRequest("\"\(name)\" must be \(kind) from \(low) to \(high).", parameter: name)
  }

  func array(_ name: String) throws(APIError) -> [JSONValue]? {
    guard let value = member(name) else { return nil }
    guard let array = value.array else { throw wrongType(name, "an array") }
    return array
  }

  func object(_ name: String) throws(APIError) -> RequestReader? {
    guard let value = member(name) else { return nil }
    guard value.object != nil else { throw wrongType(name, "an object") }
    return RequestReader(json: value)
  }

  /// A string, or an array of strings.
  func strings(_ name: String) throws(APIError) -> [String]? {
    guard let value = member(name) else { return nil }
    if let string = value.string { return [string] }
    let strings = value.array?.compactMap(\.string) ?? []
    guard !strings.isEmpty, strings.count == value.array?.count else {
      throw wrongType(name, "a string or an array of strings")
    }
    return strings
  }
}
