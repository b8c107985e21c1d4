import Diagnostics
import Essentials

extension SwiftletError {
  /// The error of the last system call that failed (`errno`), as "could not be opened: No such file or directory; check
  /// the path".
  static func system(_ path: String, _ failure: String, _ domain: Domain = .checkpoint) -> SwiftletError {
    let code = errno
    let remedy =
      switch code {
      case ENOENT, ENOTDIR: "; check the path"
      case EACCES, EPERM, EROFS: "; check the permissions"
      case ENOSPC, EDQUOT: "; free some disk space and try again"
      case EMFILE, ENFILE: "; raise the limit on open files (ulimit -n)"
      case ENOMEM: "; raise the limit on address space (ulimit -v)"
      default: ""
      }
    return SwiftletError(
      domain, "\(failure): \(String(cString: strerror(code)))\(remedy)", at: FileLocation(file: path))
  }

  /// A file that violates its format, which means that it is damaged.
  static func corrupt(_ path: String, _ problem: String) -> SwiftletError {
    .checkpoint(path: path, reason: "\(problem); the file is truncated or corrupt, so download it again")
  }
}
