/// Why a chat template cannot be read or rendered, and where.
public struct TemplateError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The line of the template, counted from 1; `nil` where the cause lies in what was passed to it.
  public let line: Int?
  /// What is wrong, in the words of Jinja2 where it has some.
  public let reason: String

  /// An error of these parts.
  public init(line: Int?, reason: String) {
    self.line = line
    self.reason = reason
  }

  /// "template line 3: 'foo' is undefined".
  public var description: String {
    if let line { "template line \(line): \(reason)" } else { "template: \(reason)" }
  }
}
