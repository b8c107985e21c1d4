import Essentials

/// The error that every part of Swiftlet throws: one printable sentence that names the file, row or key at fault, in
/// the form "problem; remedy".
public struct SwiftletError: Error, Sendable, Hashable, CustomStringConvertible, LocalizedError {
  /// The part of Swiftlet that an error comes from.
  public enum Domain: String, Sendable, Hashable, Codable {
    /// Reading or writing tensors, and the folders they are stored in.
    case checkpoint
    /// A GPU that can't be used, ran out of memory, or was lost.
    case device
    /// Opening, parsing, tokenizing and packing rows.
    case dataset
    /// Downloads from a model hub: names, permissions, corrupt files, the cache.
    case hub
    /// JSON text that is not a data file.
    case json
    /// Memory that couldn't be allocated or mapped.
    case memory
    /// A model's configuration and weights, adapters, generation and export.
    case model
    /// A model hub that can't be reached or doesn't work. A later attempt may succeed.
    case network
    /// A recipe or a command line. The command exits with status 2 for this domain and with 1 for all others.
    case recipe
    /// A chat template that can't be parsed or rendered.
    case template
    /// Reading, converting and writing tokenizer files.
    case tokenizer
    /// A training run: its settings, losses, checkpoints and ranks.
    case training
  }

  /// The part of Swiftlet that failed.
  public let domain: Domain
  /// Where the problem is; empty if no file is involved.
  public var location: FileLocation
  /// What is wrong and how to fix it, without the location: a single line of printable characters, at most
  /// `maximumLength` long.
  public let reason: String

  /// Creates an error. Control characters in `reason` are escaped and text beyond `maximumLength` is cut, so a message
  /// may include text from a file; use `quotedExcerpt` to keep it short.
  public init(_ domain: Domain, _ reason: String, at location: FileLocation = FileLocation()) {
    self.domain = domain
    self.location = location
    self.reason = reason.escapedLine(limit: Self.maximumLength)
  }

  /// The maximum length of `reason` in Unicode scalars.
  public static let maximumLength = 1000

  /// The location and the reason, as in `train.jsonl, line 12, column "prompt": the prompt is empty`.
  public var description: String {
    let place = location.description
    return place.isEmpty ? reason : "\(place): \(reason)"
  }

  /// The same text as `description`, for `localizedDescription`.
  public var errorDescription: String? { description }

  /// This error at `location`, unless it already has a location. A column in the error takes precedence.
  public func located(at location: FileLocation) -> SwiftletError {
    self.location.isEmpty ? relocated(to: location) : self
  }

  /// This error at `location`, replacing any it has. A column in the error takes precedence.
  public func relocated(to location: FileLocation) -> SwiftletError {
    var copy = self
    copy.location = location
    copy.location.column = self.location.column ?? location.column
    return copy
  }
}

extension SwiftletError {
  /// A tensor file or folder at `path` that can't be read or written.
  public static func checkpoint(path: String, reason: String) -> SwiftletError {
    SwiftletError(.checkpoint, reason, at: FileLocation(file: path))
  }

  /// Rows that can't be used; `column` names the column at fault.
  public static func data(
    _ reason: String, at location: FileLocation = FileLocation(), column: String? = nil
  ) -> SwiftletError {
    var location = location
    if let column { location.column = column }
    return SwiftletError(.dataset, reason, at: location)
  }

  /// A GPU that can't be used, ran out of memory, or was lost.
  public static func device(_ reason: String) -> SwiftletError { SwiftletError(.device, reason) }

  /// A download that failed because of `subject`: a repository such as `org/name`, a file, or an environment variable.
  public static func hub(_ subject: String, _ reason: String) -> SwiftletError {
    SwiftletError(.hub, reason, at: FileLocation(file: subject))
  }

  /// A repository that could not be downloaded because its service can't be reached or doesn't work.
  public static func network(_ subject: String, _ reason: String) -> SwiftletError {
    SwiftletError(.network, reason, at: FileLocation(file: subject))
  }

  /// Malformed JSON on a line, counted from 1.
  public static func json(line: Int, reason: String) -> SwiftletError {
    SwiftletError(.json, reason, at: FileLocation(line: line))
  }

  /// Memory that couldn't be allocated or mapped.
  public static func memory(_ reason: String) -> SwiftletError { SwiftletError(.memory, reason) }

  /// A model or adapter that can't be opened, used or exported.
  public static func model(_ reason: String) -> SwiftletError { SwiftletError(.model, reason) }

  /// A recipe key that can't be used; `location` names the recipe and line.
  public static func recipe(_ location: FileLocation, _ reason: String) -> SwiftletError {
    SwiftletError(.recipe, reason, at: location)
  }

  /// A chat template that can't be parsed or rendered; `line` counts from 1 and is `nil` if the messages are at fault.
  public static func template(line: Int?, reason: String) -> SwiftletError {
    SwiftletError(.template, reason, at: FileLocation(file: "chat template", line: line))
  }

  /// A tokenizer that can't be read or written; `path` is the file at fault.
  public static func tokenizer(_ reason: String, path: String? = nil) -> SwiftletError {
    SwiftletError(.tokenizer, reason, at: FileLocation(file: path))
  }

  /// A training run that can't start or continue.
  public static func training(_ reason: String) -> SwiftletError { SwiftletError(.training, reason) }
}
