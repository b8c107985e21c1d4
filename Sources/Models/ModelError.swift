/// Why a model can't be opened or used: one sentence that names the file or key and what to do.
public struct ModelError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The sentence.
  public let message: String

  /// An error with this sentence.
  public init(_ message: String) { self.message = message }

  /// The sentence.
  public var description: String { message }
}
