import Diagnostics
import Essentials
import Hub
import Models

/// Finds a model by name: a folder, a GGUF file, or `org/name` on the Hugging Face Hub.
public enum ModelLocation {
  /// The folder or file on this machine. `org/name` is looked up in the cache, and downloaded if it is not there.
  ///
  /// - Parameters:
  ///   - name: the model.
  ///   - revision: the branch, tag or commit on the Hub; `nil` for its default branch.
  ///   - files: the files of a hub repository that are needed; by default, everything to run and train the model.
  ///   - progress: called during a download.
  /// - Throws: `SwiftletError` if the path does not exist or the download fails.
  public static func find(
    _ name: String, revision: String? = nil, files: FileSelection = .model(),
    progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> URL {
    let expanded = name.expandingTilde
    if FileManager.default.fileExists(atPath: expanded) { return URL(fileURLWithPath: expanded) }
    guard RepositoryID.isQualifiedName(name) else {
      throw SwiftletError.model(
        "\(name): no such file or folder. Name a model folder, a .gguf file or org/name.")
    }
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let id = try RepositoryID(name)
    if let cached = try hub.cached(id, revision: revision, kind: .model, files: files) { return cached }
    return try await hub.snapshot(
      of: id, revision: revision, kind: .model, files: files, progress: progress ?? { _ in })
  }
}
