/// Why a model or dataset could not be downloaded or found: what is wrong and what to do about it.
public struct HubError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What the error is about: a repository such as `org/name`, a file, or an environment variable.
  public let subject: String
  /// The problem and the remedy, one sentence each.
  public let reason: String
  /// Whether the service is unreachable or out of order, so that a cached copy is the next best thing.
  let isOutage: Bool

  init(_ subject: String, _ reason: String, isOutage: Bool = false) {
    self.subject = subject
    self.reason = reason
    self.isOutage = isOutage
  }

  /// The error on one line, such as "org/name: revision not found. Check the branch, tag or commit."
  public var description: String { "\(subject): \(reason)" }
}

/// Untrusted text for a message: on one line, without control characters, at most 200 characters long.
func excerpt(_ text: String) -> String {
  let scalars = text.unicodeScalars.prefix(200).map { scalar in
    [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory) ? " " : scalar
  }
  var line = ""
  line.unicodeScalars.append(contentsOf: scalars)
  return line
}
