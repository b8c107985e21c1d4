import Diagnostics
import Essentials

/// Reads regular files and nothing else. A FIFO, device, socket or directory in place of a file is refused immediately;
/// opening or reading it could block forever.
public enum RegularFile {
  /// The largest file that `contents(of:)` reads unless the caller sets a limit, in bytes.
  public static let defaultSizeLimit = 1 << 30

  /// Whether `path` names a regular file, following symbolic links.
  public static func exists(atPath path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  /// Checks that `path` names a regular file without opening it.
  /// - Parameter domain: the domain of the error.
  /// - Throws: `SwiftletError` if the file does not exist or is not regular.
  public static func require(atPath path: String, domain: SwiftletError.Domain = .checkpoint) throws(SwiftletError) {
    var status = stat()
    if stat(path, &status) != 0 { throw .system(path, "could not be opened", domain) }
    try requireRegular(status, path, domain)
  }

  /// The whole contents of a file.
  /// - Parameters:
  ///   - sizeLimit: the largest size to accept, in bytes.
  ///   - domain: the domain of the error.
  /// - Throws: `SwiftletError` if the file does not exist, is not regular, is too large or cannot be read.
  public static func contents(
    of url: URL, sizeLimit: Int = defaultSizeLimit, domain: SwiftletError.Domain = .checkpoint
  ) throws(SwiftletError) -> [UInt8] {
    let path = url.path
    let (descriptor, byteCount) = try open(path, domain)
    defer { close(descriptor) }
    if byteCount > sizeLimit { throw tooLarge(path, sizeLimit, domain) }
    var bytes = [UInt8](repeating: 0, count: byteCount)
    var filled = 0
    while true {
      // One byte more than expected tells the end of the file from one that grew.
      if filled == bytes.count { bytes.append(contentsOf: repeatElement(0, count: filled == byteCount ? 1 : 1 << 16)) }
      let count = bytes.withUnsafeMutableBytes {
        read(descriptor, $0.baseAddress.map { $0 + filled }, $0.count - filled)
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw .system(path, "could not be read", domain)
      }
      if count == 0 { break }
      filled += count
      if filled > sizeLimit { throw tooLarge(path, sizeLimit, domain) }
    }
    bytes.removeLast(bytes.count - filled)
    return bytes
  }

  /// The contents of a UTF-8 text file.
  /// - Parameters:
  ///   - sizeLimit: the largest size to accept, in bytes.
  ///   - domain: the domain of the error.
  /// - Throws: `SwiftletError` as for `contents(of:)`, and if the file is not valid UTF-8.
  public static func text(
    of url: URL, sizeLimit: Int = 100_000_000, domain: SwiftletError.Domain = .checkpoint
  ) throws(SwiftletError) -> String {
    let bytes = try contents(of: url, sizeLimit: sizeLimit, domain: domain)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw SwiftletError(
        domain, "is not valid UTF-8; save it as UTF-8 text", at: FileLocation(file: url.path))
    }
    return text
  }

  /// A handle that reads a file from its start and closes it when released.
  /// - Parameter domain: the domain of the error.
  /// - Throws: `SwiftletError` if the file does not exist, is not regular or cannot be opened.
  package static func handle(
    forReadingFrom url: URL, domain: SwiftletError.Domain = .checkpoint
  ) throws(SwiftletError) -> OpenFile {
    OpenFile(descriptor: try open(url.path, domain).descriptor, path: url.path, closes: true)
  }

  /// Opens a file for reading; the caller closes the descriptor. The size is in bytes.
  static func open(
    _ path: String, _ domain: SwiftletError.Domain
  ) throws(SwiftletError) -> (descriptor: Int32, byteCount: Int) {
    // Opening a device can have effects, so check first; check again because the file may have been replaced since.
    try require(atPath: path, domain: domain)
    #if canImport(Darwin)
      let descriptor = Darwin.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    #else
      let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    #endif
    if descriptor < 0 { throw .system(path, "could not be opened", domain) }
    do throws(SwiftletError) {
      var status = stat()
      if fstat(descriptor, &status) != 0 { throw SwiftletError.system(path, "could not be opened", domain) }
      try requireRegular(status, path, domain)
      return (descriptor, Int(status.st_size))
    } catch {
      close(descriptor)
      throw error
    }
  }

  private static func requireRegular(
    _ status: stat, _ path: String, _ domain: SwiftletError.Domain
  ) throws(SwiftletError) {
    let kind: String
    switch status.st_mode & S_IFMT {
    case S_IFREG: return
    case S_IFDIR: kind = "a directory"
    case S_IFIFO: kind = "a FIFO"
    case S_IFCHR, S_IFBLK: kind = "a device"
    case S_IFSOCK: kind = "a socket"
    default: kind = "a special file"
    }
    throw SwiftletError(
      domain, "is \(kind), not a regular file; give the path of a file", at: FileLocation(file: path))
  }

  private static func tooLarge(_ path: String, _ limit: Int, _ domain: SwiftletError.Domain) -> SwiftletError {
    SwiftletError(
      domain, "is larger than \(limit) bytes, the limit for this kind of file; check that it is the right file",
      at: FileLocation(file: path))
  }
}
