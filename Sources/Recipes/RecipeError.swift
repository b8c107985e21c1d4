import Diagnostics

/// Where a recipe's values come from, in the terms of `FileLocation`.
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
