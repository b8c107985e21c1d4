/// The size in bytes of the file at `path`; `nil` if there is none.
///
/// `FileManager`'s size attribute is a `UInt64` in FoundationEssentials and an `NSNumber` in Foundation, so casting it
/// to `Int` fails with one of them.
package func fileSize(atPath path: String) -> Int? {
  guard let file = try? OpenFile(path) else { return nil }
  return try? file.seekToEnd()
}
