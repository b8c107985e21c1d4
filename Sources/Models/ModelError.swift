import Diagnostics

extension SwiftletError {
  /// A problem in the model file or folder at `path`.
  static func model(_ reason: String, in path: String) -> SwiftletError {
    SwiftletError(.model, reason, at: FileLocation(file: path))
  }
}
