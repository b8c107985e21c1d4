import Diagnostics
import Foundation

extension SwiftletError {
  /// The error of the system call that failed last (`errno`), as "could not be opened: No such file or directory; ...".
  static func system(_ path: String, _ failure: String) -> SwiftletError {
    let code = errno
    let remedy =
      switch code {
      case ENOENT: "; check the path"
      case EACCES, EPERM, EROFS: "; check the permissions"
      case ENOSPC, EDQUOT: "; free some disk space and try again"
      case EMFILE, ENFILE: "; raise the limit on open files (ulimit -n)"
      case ENOMEM: "; raise the limit on address space (ulimit -v)"
      default: ""
      }
    return .checkpoint(path: path, reason: "\(failure): \(String(cString: strerror(code)))\(remedy)")
  }
}
