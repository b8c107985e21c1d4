/// Why a recipe cannot be used: where, which key, and one sentence that says what to do.
public struct RecipeError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Where the offending value stands.
  public let origin: RecipeOrigin
  /// The key as the user wrote it; `nil` where the whole file is at fault.
  public let key: String?
  /// What is wrong and what to do, without the place.
  public let reason: String

  /// An error at a place.
  public init(_ origin: RecipeOrigin, key: String? = nil, _ reason: String) {
    self.origin = origin
    self.key = key
    self.reason = reason
  }

  /// One sentence: "recipe.yaml line 4: lora_rr is not a key of a recipe; did you mean lora_r?".
  public var description: String { "\(origin): \(reason)" }
}

/// Where a recipe's value comes from.
public enum RecipeOrigin: Sendable, Hashable, CustomStringConvertible {
  /// A line of a YAML file, counted from 1; 0 for the file as a whole.
  case file(String, line: Int)
  /// The command line.
  case commandLine
  /// Neither: the value is the key's default.
  case byDefault

  /// The place as messages begin with it.
  public var description: String {
    switch self {
    case .file(let name, line: 0): name
    case .file(let name, let line): "\(name) line \(line)"
    case .commandLine: "command line"
    case .byDefault: "recipe"
    }
  }
}

/// What a value should have been; the reader adds the key and the place.
struct RecipeValueError: Error {
  /// What follows the key's name, as in `[2].path`; empty for the value itself.
  var path = ""
  /// What follows the path, as in `is "ten", but should be an integer`.
  let reason: String

  /// The value is of another kind than expected.
  static func mismatch(_ value: RecipeValue, expected: String) -> RecipeValueError {
    RecipeValueError(reason: "is \(value.quoted), but should be \(expected)")
  }

  /// The same error seen from one level further out.
  func inside(_ outer: String) -> RecipeValueError { RecipeValueError(path: outer + path, reason: reason) }
}
