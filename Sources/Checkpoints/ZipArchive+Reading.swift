import CLoader
import CZip
import Diagnostics
import Essentials

extension ZipArchive {
  /// Unpacks an archive into a folder, which is created. Checksums are compared.
  /// - Parameter progress: called with the fraction read, from 0 to 1.
  /// - Throws: `SwiftletError` if the archive is truncated or damaged, or would write outside of the folder.
  public static func extract(
    _ url: URL, to folder: URL, progress: (Double) -> Void = { _ in }
  ) throws(SwiftletError) {
    try checkLibrary(for: url)
    guard RegularFile.exists(atPath: url.path) else {
      throw SwiftletError.checkpoint(path: url.path, reason: "there is no such file")
    }
    var code: Int32 = 0
    guard let archive = zip_open(url.path, ZIP_RDONLY | ZIP_CHECKCONS, &code) else {
      throw SwiftletError.checkpoint(
        path: url.path, reason: "this is no complete zip file: \(message(code)); zip or download it again")
    }
    defer { zip_discard(archive) }
    let count = zip_get_num_entries(archive, 0)
    for index in 0..<max(0, count) {
      guard let name = zip_get_name(archive, zip_uint64_t(index), 0).map({ String(cString: $0) }) else {
        throw SwiftletError.checkpoint(path: url.path, reason: "entry \(index + 1) has no name")
      }
      // An archive may come from anywhere.
      guard !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
        throw SwiftletError.checkpoint(
          path: url.path, reason: "\(name.quotedExcerpt) would be written outside of the folder")
      }
      if name.hasSuffix("/") { continue }
      try extract(name, of: archive, url, to: folder.appendingPathComponent(name))
      progress(Double(index + 1) / Double(count))
    }
  }

  private static func extract(
    _ name: String, of archive: OpaquePointer, _ url: URL, to place: URL
  ) throws(SwiftletError) {
    guard let entry = zip_fopen(archive, name, 0) else {
      throw SwiftletError.checkpoint(
        path: url.path, reason: "\(name.quotedExcerpt) could not be read: \(String(cString: zip_strerror(archive)))")
    }
    defer { zip_fclose(entry) }
    try? FileManager.default.createDirectory(
      at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    let file = try AtomicFile(replacing: place)
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let read = zip_fread(entry, &buffer, zip_uint64_t(buffer.count))
      // The checksum is compared at the end of the entry.
      guard read >= 0 else {
        throw SwiftletError.checkpoint(
          path: url.path, reason: "\(name.quotedExcerpt) is damaged; zip or download it again")
      }
      if read == 0 { break }
      try file.write(Array(buffer[..<Int(read)]))
    }
    try file.commit()
  }
}
