/// The size in bytes of the regular file at `path`, following symbolic links; `nil` if there is none. A FIFO is not opened,
/// and the size of a folder or device means nothing.
///
/// `FileManager`'s size attribute is a `UInt64` in FoundationEssentials and an `NSNumber` in Foundation, so casting it
/// to `Int` fails with one of them.
package func fileSize(atPath path: String) -> Int? {
  var status = stat()
  guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
  return Int(status.st_size)
}
