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
  ///   - progress: told of a download.
  /// - Throws: `SwiftletError` for a path that is not there, `HubError` for a download that fails.
  public static func find(
    _ name: String, revision: String? = nil, progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> URL {
    let expanded = (name as NSString).expandingTildeInPath
    if FileManager.default.fileExists(atPath: expanded) { return URL(fileURLWithPath: expanded) }
    guard RepositoryID.isQualifiedName(name) else {
      throw SwiftletError.model(
        "\(name): there is no such file or folder; name a model folder, a .gguf file or org/name")
    }
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let id = try RepositoryID(name)
    if let cached = try hub.cached(id, revision: revision, kind: .model) { return cached }
    return try await hub.snapshot(
      of: id, revision: revision, kind: .model, files: .model(gguf: nil), progress: progress ?? { _ in })
  }
}
