import Diagnostics
import Essentials
import Hub
import Models

/// Finds a model by name: a folder, a GGUF file, or `org/name` on the Hugging Face Hub.
public enum ModelLocation {
  /// The folder or file on this machine. `org/name` is looked up in the cache, and downloaded if it is not there. Of a
  /// folder or repository with GGUF files and no safetensors, this is the GGUF file.
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
    if FileManager.default.fileExists(atPath: expanded) { return file(in: URL(fileURLWithPath: expanded)) }
    guard RepositoryID.isQualifiedName(name) else {
      throw SwiftletError.model(
        "\(name): no such file or folder; name a model folder, a .gguf file or org/name")
    }
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let id = try RepositoryID(name)
    if let cached = try hub.cached(id, revision: revision, kind: .model, files: files) { return file(in: cached) }
    return file(
      in: try await hub.snapshot(
        of: id, revision: revision, kind: .model, files: files, progress: progress ?? { _ in }))
  }

  /// What describes a model: its folder or file if the model is on this machine, else its config.json, downloaded
  /// without the weights. Of a repository with only GGUF files, that is a GGUF file.
  /// - Throws: `SwiftletError` if the path does not exist or the download fails.
  package static func description(
    of name: String, progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> URL {
    let found = try await find(name, files: .modelDescription, progress: progress)
    let config = found.appendingPathComponent("config.json")
    // A folder of the cache may hold some of the weights only.
    guard !FileManager.default.fileExists(atPath: name.expandingTilde),
      FileManager.default.fileExists(atPath: config.path),
      let hub = try? Hub(environment: ProcessInfo.processInfo.environment), let id = try? RepositoryID(name),
      try hub.cached(id, revision: nil, kind: .model, files: .model()) == nil
    else { return found }
    return config
  }

  /// The model in `folder`: the folder itself, or its GGUF file if it has no safetensors.
  package static func file(in folder: URL) -> URL {
    guard FileManager.default.isFolder(folder.path),
      let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path),
      !names.contains(where: { $0.hasSuffix(".safetensors") || $0.hasSuffix(".safetensors.index.json") })
    else { return folder }
    if let name = FileSelection.preferredGGUF(of: names) { return folder.appendingPathComponent(name) }
    if names.contains("config.json") { return folder }
    // Repositories often have a folder for each type.
    var paths: [String] = []
    for name in names where FileManager.default.isFolder(folder.appendingPathComponent(name).path) {
      let inner = (try? FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent(name).path)) ?? []
      paths += inner.map { name + "/" + $0 }
    }
    return FileSelection.preferredGGUF(of: paths).map { folder.appendingPathComponent($0) } ?? folder
  }
}
