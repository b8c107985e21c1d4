import Diagnostics
import CLoader
import CZip
import Essentials

/// Writes and reads zip files with libzip. Archives larger than 4 GB use Zip64.
public enum ZipArchive {
  /// Writes the regular files of `folder` and its subfolders to an archive at `url`, under a folder of the same name.
  /// Weights are stored uncompressed because they hardly shrink. The archive appears only once it is complete.
  ///
  /// - Parameter progress: called with the fraction written, from 0 to 1.
  /// - Throws: `SwiftletError` if a file cannot be read or the archive cannot be written.
  public static func write(
    folder: URL, to url: URL, progress: @escaping (Double) -> Void = { _ in }
  ) throws(SwiftletError) {
    try checkLibrary(for: url)
    let names = try fileNames(in: folder)
    var code: Int32 = 0
    guard let archive = zip_open(url.path, ZIP_CREATE | ZIP_TRUNCATE, &code) else {
      throw SwiftletError.checkpoint(
        path: url.path, reason: "could not be created: \(message(code)); check the path")
    }
    // libzip may call it until `zip_close` returns.
    let report = Unmanaged.passRetained(ProgressReport(progress))
    defer { report.release() }
    do {
      for name in names { try add(name, of: folder, to: archive, url.path) }
    } catch {
      zip_discard(archive)
      throw error
    }
    zip_register_progress_callback_with_state(
      archive, 0.001,
      { _, share, state in
        guard let state else { return }
        Unmanaged<ProgressReport>.fromOpaque(state).takeUnretainedValue().body(share)
      }, nil, report.toOpaque())
    guard zip_close(archive) == 0 else {
      let reason = String(cString: zip_strerror(archive))
      zip_discard(archive)
      throw SwiftletError.checkpoint(
        path: url.path, reason: "could not be written: \(reason); check the free disk space")
    }
  }

  /// - Throws: `SwiftletError` if libzip is not installed.
  static func checkLibrary(for url: URL) throws(SwiftletError) {
    guard let failure = loader_failure(loader_zip) else { return }
    throw SwiftletError.checkpoint(
      path: url.path,
      reason: "zip files need libzip (\(String(cString: failure))); on Debian and Ubuntu, type `apt install libzip4`")
  }

  /// libzip's text for an error code.
  static func message(_ code: Int32) -> String {
    var error = zip_error_t()
    zip_error_init_with_code(&error, code)
    defer { zip_error_fini(&error) }
    return String(cString: zip_error_strerror(&error))
  }

  private final class ProgressReport {
    let body: (Double) -> Void
    init(_ body: @escaping (Double) -> Void) { self.body = body }
  }

  /// The paths of the regular files in `folder`, relative to it, sorted.
  private static func fileNames(in folder: URL) throws(SwiftletError) -> [String] {
    guard let names = try? FileManager.default.subpathsOfDirectory(atPath: folder.path) else {
      throw SwiftletError.checkpoint(
        path: folder.path, reason: "could not be listed; check the path and the permissions")
    }
    var files: [String] = []
    for name in names {
      if RegularFile.exists(atPath: folder.appendingPathComponent(name).path) { files.append(name) }
    }
    guard !files.isEmpty else {
      throw SwiftletError.checkpoint(path: folder.path, reason: "contains no files to archive; check the path")
    }
    return files.sorted()
  }

  private static func add(
    _ name: String, of folder: URL, to archive: OpaquePointer, _ path: String
  ) throws(SwiftletError) {
    let file = folder.appendingPathComponent(name).path
    // From the start to the end of the file.
    guard let source = zip_source_file(archive, file, 0, -1) else {
      throw SwiftletError.checkpoint(
        path: file, reason: "could not be read: \(String(cString: zip_strerror(archive))); check its permissions")
    }
    let index = zip_file_add(
      archive, "\(folder.lastPathComponent)/\(name)", source, zip_flags_t(ZIP_FL_ENC_UTF_8))
    guard index >= 0 else {
      zip_source_free(source)
      throw SwiftletError.checkpoint(
        path: path,
        reason: "could not add \(name.quotedExcerpt): \(String(cString: zip_strerror(archive))); rename the file")
    }
    let isWeights = name.hasSuffix(".safetensors") || name.hasSuffix(".gguf")
    zip_set_file_compression(archive, zip_uint64_t(index), isWeights ? ZIP_CM_STORE : ZIP_CM_DEFLATE, 0)
  }
}
