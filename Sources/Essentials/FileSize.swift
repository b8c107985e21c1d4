/// The size in bytes of the file at `path`; `nil` if there is none.
///
/// `FileManager`'s attributes hold the size as a `UInt64` without the full Foundation and as an `NSNumber` with it, so
/// casting it to `Int` fails in one of them.
package func fileSize(atPath path: String) -> Int? {
  guard let file = try? OpenFile(path) else { return nil }
  return try? file.seekToEnd()
}
