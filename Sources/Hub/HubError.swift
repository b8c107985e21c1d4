/// Why a model or data set could not be had, in one sentence that names it and the remedy.
public struct HubError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What the error is about: a repository such as `org/name`, a file of it, or a setting.
  public let subject: String
  /// What is wrong and what to do about it.
  public let reason: String
  /// Whether the service could not be reached or is out of order, so that a copy in the cache is the next best.
  let isOutage: Bool

  init(_ subject: String, _ reason: String, isOutage: Bool = false) {
    self.subject = subject
    self.reason = reason
    self.isOutage = isOutage
  }

  /// "org/name: ...".
  public var description: String { "\(subject): \(reason)" }
}

/// Text of a server as a message can show it: one short line.
func excerpt(_ text: String) -> String {
  let scalars = text.unicodeScalars.prefix(200).map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }
  var line = ""
  line.unicodeScalars.append(contentsOf: scalars)
  return line
}
