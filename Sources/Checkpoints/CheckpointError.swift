import Foundation

/// Why a file of weights could not be read or written, in one sentence that names the file and the remedy.
public struct CheckpointError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The path of the file or folder concerned.
  public let path: String
  /// What is wrong, where, and what to do about it.
  public let reason: String

  /// An error about the file or folder at `path`.
  public init(path: String, reason: String) {
    self.path = path
    self.reason = reason
  }

  /// "model.safetensors: the tensor ... ".
  public var description: String { "\(path): \(reason)" }

  /// The error of the system call that failed last, as "could not be opened: No such file or directory".
  static func system(_ path: String, _ failure: String) -> CheckpointError {
    let code = errno
    let remedy =
      switch code {
      case ENOENT: "; check the path"
      case EACCES, EPERM, EROFS: "; check the permissions"
      case ENOSPC, EDQUOT: "; free some disk space and try again"
      case EMFILE, ENFILE: "; raise the limit on open files (ulimit -n)"
      case ENOMEM: "; there is not enough address space (ulimit -v)"
      default: ""
      }
    return CheckpointError(path: path, reason: "\(failure): \(String(cString: strerror(code)))\(remedy)")
  }
}

/// A name from a file as a message can show it: shortened, without control characters.
func quoted(_ name: String) -> String {
  let shown = name.unicodeScalars.prefix(100).map { $0.value < 0x20 || $0.value == 0x7F ? "\u{FFFD}" : $0 }
  var text = ""
  text.unicodeScalars.append(contentsOf: shown)
  return "\"\(text)\(name.unicodeScalars.count > 100 ? "…" : "")\""
}
