/// Why a run can't start or go on: one sentence with the remedy.
public struct TrainingError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The sentence.
  public let message: String

  /// An error with this sentence.
  public init(_ message: String) { self.message = message }

  /// The sentence.
  public var description: String { message }
}
