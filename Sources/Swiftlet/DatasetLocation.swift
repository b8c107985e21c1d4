import Essentials
import Hub
import Recipes

/// Finds the datasets of a recipe: files and folders on this machine, or `org/name` on the Hugging Face Hub.
public enum DatasetLocation {
  /// The recipe's data with every source on this machine. `org/name` is looked up in the cache, and downloaded if it is
  /// not there. A path that does not exist is left as it is, for the reader to report.
  /// - Throws: `SwiftletError` if a download fails.
  public static func find(
    _ recipe: Recipe, progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> DataArguments {
    var data = recipe.data
    if let name = data.datasetName { data.datasetName = try await path(name, recipe, progress) }
    for (index, source) in data.sources.enumerated() where source.query == nil && !source.namesFormat {
      data.sources[index].path = try await path(source.path, recipe, progress)
    }
    if let source = data.evalDataset, source.query == nil, !source.namesFormat {
      data.evalDataset?.path = try await path(source.path, recipe, progress)
    }
    return data
  }

  private static func path(
    _ name: String, _ recipe: Recipe, _ progress: (@Sendable (HubProgress) -> Void)?
  ) async throws -> String {
    let located = recipe.locate(name)
    guard !FileManager.default.fileExists(atPath: located), RepositoryID.isQualifiedName(name) else { return name }
    return try await find(name, progress: progress)
  }

  /// The folder of a dataset on the Hub: in the cache, or downloaded into it.
  /// - Throws: `SwiftletError` if `name` is not `org/name`, or the download fails.
  static func find(
    _ name: String, environment: [String: String] = ProcessInfo.processInfo.environment,
    progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> String {
    let hub = try Hub(environment: environment)
    let id = try RepositoryID(name)
    if let cached = try hub.cached(id, revision: nil, kind: .dataset) { return cached.path }
    return try await hub.snapshot(
      of: id, revision: nil, kind: .dataset, files: .dataset, progress: progress ?? { _ in }
    ).path
  }
}
