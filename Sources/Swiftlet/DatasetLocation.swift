import Foundation
import Hub
import Recipes

/// What the data sources of a recipe mean: files and folders here, or `org/name` on the hub.
public enum DatasetLocation {
  /// The same recipe with every source on this machine; what is `org/name` is looked up in the cache, else downloaded.
  ///
  /// - Throws: `SwiftletError` for a download that fails. A path that is neither is left for the reader to refuse.
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
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let id = try RepositoryID(name)
    if let cached = try hub.cached(id, revision: nil, kind: .dataset) { return cached.path }
    return try await hub.snapshot(
      of: id, revision: nil, kind: .dataset, files: .dataset, progress: progress ?? { _ in }
    ).path
  }
}
