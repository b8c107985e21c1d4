import Diagnostics

/// Where the values of a recipe come from.
extension FileLocation {
  /// A value given on the command line.
  static let commandLine = FileLocation(file: "command line")
  /// A key's default value.
  static let defaultValue = FileLocation(file: "recipe")

  /// A line of a YAML file, counted from 1; 0 stands for the file as a whole.
  static func file(_ name: String, line: Int) -> FileLocation {
    FileLocation(file: name, line: line > 0 ? line : nil)
  }
}

/// What is wrong with a value. The reader adds the key and the location.
struct RecipeValueError: Error {
  /// The part of the value at fault, as in `[2].path`; empty for the value itself.
  var path = ""
  /// The rest of a sentence about the value, as in `must be an integer (got "ten")`.
  let reason: String

  /// The value has the wrong type.
  static func mismatch(_ value: RecipeValue, expected: String) -> RecipeValueError {
    RecipeValueError(reason: "must be \(expected) (got \(value.quoted))")
  }

  /// The same error with a longer path.
  func inside(_ outer: String) -> RecipeValueError { RecipeValueError(path: outer + path, reason: reason) }
}
