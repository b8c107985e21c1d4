import Diagnostics
import CZip
import Foundation

/// Zip files, by libzip, which splits nothing and passes 4 GB by Zip64.
public enum ZipArchive {
  /// Writes the files of `folder`, and of folders in it, as `url`: inside they stand in a folder of the same name.
  /// Weights are stored as they are, since they hardly shrink; other files are compressed. The archive takes its name
  /// only when it is whole.
  ///
  /// - Parameter progress: told of the share that is written, from 0 to 1.
  /// - Throws: `SwiftletError` where a file cannot be read or the archive not be written.
  public static func write(
    folder: URL, to url: URL, progress: @escaping (Double) -> Void = { _ in }
  ) throws(SwiftletError) {
    let names = try fileNames(in: folder)
    var code: Int32 = 0
    guard let archive = zip_open(url.path, ZIP_CREATE | ZIP_TRUNCATE, &code) else {
      var error = zip_error_t()
      zip_error_init_with_code(&error, code)
      defer { zip_error_fini(&error) }
      throw SwiftletError.checkpoint(
        path: url.path, reason: "could not be created: \(String(cString: zip_error_strerror(&error))); check the path")
    }
    // Dropped after `zip_close` at the latest: until then libzip may call it.
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
        path: url.path, reason: "could not be written: \(reason); check the space on the disk")
    }
  }

  private final class ProgressReport {
    let body: (Double) -> Void
    init(_ body: @escaping (Double) -> Void) { self.body = body }
  }

  /// The paths of the files in `folder`, from there on, in order.
  private static func fileNames(in folder: URL) throws(SwiftletError) -> [String] {
    guard let names = FileManager.default.enumerator(atPath: folder.path) else {
      throw SwiftletError.checkpoint(
        path: folder.path, reason: "could not be listed; check the path and the permissions")
    }
    var files: [String] = []
    for case let name as String in names {
      var isFolder: ObjCBool = false
      let path = folder.appendingPathComponent(name).path
      if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue {
        files.append(name)
      }
    }
    guard !files.isEmpty else {
      throw SwiftletError.checkpoint(path: folder.path, reason: "has no files to put into an archive; check the path")
    }
    return files.sorted()
  }

  private static func add(
    _ name: String, of folder: URL, to archive: OpaquePointer, _ path: String
  ) throws(SwiftletError) {
    let file = folder.appendingPathComponent(name).path
    // The whole file: from its start, to wherever it ends.
    guard let source = zip_source_file(archive, file, 0, -1) else {
      throw SwiftletError.checkpoint(path: file, reason: "could not be read: \(String(cString: zip_strerror(archive)))")
    }
    let place = zip_file_add(
      archive, "\(folder.lastPathComponent)/\(name)", source, zip_flags_t(ZIP_FL_ENC_UTF_8))
    guard place >= 0 else {
      zip_source_free(source)
      throw SwiftletError.checkpoint(
        path: path, reason: "could not take \(name): \(String(cString: zip_strerror(archive)))")
    }
    let isWeights = name.hasSuffix(".safetensors") || name.hasSuffix(".gguf")
    zip_set_file_compression(archive, zip_uint64_t(place), isWeights ? ZIP_CM_STORE : ZIP_CM_DEFLATE, 0)
  }
}
