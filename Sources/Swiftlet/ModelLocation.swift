import Diagnostics
import Foundation
import Hub
import Models

/// What M of `--model M` means: a folder, a GGUF file, or `org/name` on the hub.
public enum ModelLocation {
  /// The folder or file on this machine; `org/name` is looked up in the cache, else downloaded.
  ///
  /// - Parameters:
  ///   - name: M.
  ///   - revision: branch, tag or commit on the hub; `nil` for its default.
  ///   - files: which files of a hub repository are needed; by default everything to run and train the model.
  ///   - progress: called as a download advances.
  /// - Throws: `SwiftletError` for a missing path or a failed download.
  public static func find(
    _ name: String, revision: String? = nil, files: FileSelection = .model(),
    progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> URL {
    let expanded = (name as NSString).expandingTildeInPath
    if FileManager.default.fileExists(atPath: expanded) { return URL(fileURLWithPath: expanded) }
    guard RepositoryID.isQualifiedName(name) else {
      throw SwiftletError.model(
        "\(name): there is no such file or folder; name a model folder, a .gguf file or org/name")
    }
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let id = try RepositoryID(name)
    if let cached = try hub.cached(id, revision: revision, kind: .model, files: files) { return cached }
    return try await hub.snapshot(
      of: id, revision: revision, kind: .model, files: files, progress: progress ?? { _ in })
  }
}
