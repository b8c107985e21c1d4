/// Why a tokenizer could not be read or written.
public struct TokenizerError: Error, Sendable, Hashable, CustomStringConvertible {
  /// One sentence that names the file and key and says what to do.
  public let message: String

  /// An error with this message.
  public init(_ message: String) { self.message = message }

  /// The message.
  public var description: String { message }
}
