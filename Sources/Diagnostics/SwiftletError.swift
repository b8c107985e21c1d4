import Foundation

/// The error that every part of Swiftlet throws: one printable sentence that names the file, row or key at fault and,
/// where there is one, the remedy.
public struct SwiftletError: Error, Sendable, Hashable, CustomStringConvertible, LocalizedError {
  /// The part of Swiftlet an error comes from.
  public enum Domain: String, Sendable, Hashable, Codable {
    /// Reading or writing tensors, and the folders they are stored in.
    case checkpoint
    /// Rows: opening, parsing, tokenizing and packing them.
    case dataset
    /// Downloads from a model hub: names, permissions, corrupt files, the cache.
    case hub
    /// JSON text outside of a data file.
    case json
    /// Memory that could not be allocated or mapped.
    case memory
    /// A model's configuration and weights, adapters, generation and export.
    case model
    /// A model hub that cannot be reached or is out of order. A later attempt may succeed.
    case network
    /// A recipe or a command line. The command exits with status 2 for these, and with 1 for all others.
    case recipe
    /// A chat template that cannot be parsed or rendered.
    case template
    /// A tokenizer file.
    case tokenizer
    /// A training run.
    case training
  }

  /// The part of Swiftlet that failed.
  public let domain: Domain
  /// Where the problem is; empty if it is not in a file.
  public var location: FileLocation
  /// What is wrong and what to do about it, without the location. Always a single line of printable characters: text
  /// quoted from files is escaped, and very long text is shortened.
  public let reason: String

  /// Creates an error. Control characters in `reason` are escaped, and text beyond `maximumLength` is cut.
  public init(_ domain: Domain, _ reason: String, at location: FileLocation = FileLocation()) {
    self.domain = domain
    self.location = location
    self.reason = reason.escapedLine(limit: Self.maximumLength)
  }

  /// The most characters of a reason that are kept.
  public static let maximumLength = 1000

  /// The location and the reason, as in `train.jsonl, line 12, column "prompt": the prompt is empty; ...`.
  public var description: String {
    let place = location.description
    return place.isEmpty ? reason : "\(place): \(reason)"
  }

  /// The same text as `description`, for `localizedDescription`.
  public var errorDescription: String? { description }

  /// This error, placed at `location` unless it already has one. A column that it names is kept.
  public func located(at location: FileLocation) -> SwiftletError {
    self.location.isEmpty ? relocated(to: location) : self
  }

  /// This error at another location. A column that it names is kept.
  public func relocated(to location: FileLocation) -> SwiftletError {
    var copy = self
    copy.location = location
    copy.location.column = self.location.column ?? location.column
    return copy
  }
}

extension SwiftletError {
  /// A tensor file or folder at `path` that cannot be read or written.
  public static func checkpoint(path: String, reason: String) -> SwiftletError {
    SwiftletError(.checkpoint, reason, at: FileLocation(file: path))
  }

  /// Rows that cannot be used; `column` names the column at fault.
  public static func data(
    _ reason: String, at location: FileLocation = FileLocation(), column: String? = nil
  ) -> SwiftletError {
    var location = location
    if let column { location.column = column }
    return SwiftletError(.dataset, reason, at: location)
  }

  /// A download that failed because of `subject`: a repository such as `org/name`, a file, or an environment variable.
  public static func hub(_ subject: String, _ reason: String) -> SwiftletError {
    SwiftletError(.hub, reason, at: FileLocation(file: subject))
  }

  /// A repository that could not be downloaded because its service cannot be reached or is out of order.
  public static func network(_ subject: String, _ reason: String) -> SwiftletError {
    SwiftletError(.network, reason, at: FileLocation(file: subject))
  }

  /// Malformed JSON on a line, counted from 1.
  public static func json(line: Int, reason: String) -> SwiftletError {
    SwiftletError(.json, reason, at: FileLocation(line: line))
  }

  /// Memory that could not be allocated or mapped.
  public static func memory(_ reason: String) -> SwiftletError { SwiftletError(.memory, reason) }

  /// A model or adapter that cannot be opened, used or exported.
  public static func model(_ reason: String) -> SwiftletError { SwiftletError(.model, reason) }

  /// A recipe key that cannot be used.
  public static func recipe(_ location: FileLocation, _ reason: String) -> SwiftletError {
    SwiftletError(.recipe, reason, at: location)
  }

  /// A chat template that cannot be parsed or rendered; `line` is counted from 1, `nil` if the messages are at fault.
  public static func template(line: Int?, reason: String) -> SwiftletError {
    SwiftletError(.template, reason, at: FileLocation(file: "chat template", line: line))
  }

  /// A tokenizer that cannot be read or written.
  public static func tokenizer(_ reason: String) -> SwiftletError { SwiftletError(.tokenizer, reason) }

  /// A training run that cannot start or continue.
  public static func training(_ reason: String) -> SwiftletError { SwiftletError(.training, reason) }
}
