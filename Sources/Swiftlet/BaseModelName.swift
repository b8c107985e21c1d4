import Essentials
import Hub
import Models
import Recipes

/// How saved files name a run's base model. They are shared, so a repository says more than a path, and the name of the
/// home directory concerns nobody.
package enum BaseModelName {
  /// The repository that the model comes from, if that is known; else the recipe's name, with `~` for the home directory.
  package static func name(_ recipe: Recipe, _ files: ModelFiles) -> String {
    let name = recipe.model.name
    guard FileManager.default.fileExists(atPath: recipe.locate(name)) else { return name }
    return cachedRepository(files.url.path) ?? convertedRepository(files) ?? name.abbreviatingHome
  }

  /// The repository of a path in the cache of the Hub, such as `.../models--org--name/snapshots/...`.
  private static func cachedRepository(_ path: String) -> String? {
    guard let folder = path.split(separator: "/").first(where: { $0.hasPrefix("models--") }) else { return nil }
    return qualified(String(folder.dropFirst("models--".count).replacing("--", with: "/")))
  }

  /// The repository that a GGUF file was converted from, or else that of the model which was quantized.
  private static func convertedRepository(_ files: ModelFiles) -> String? {
    guard let metadata = files.gguf?.metadata else { return nil }
    let keys = [
      "general.source.huggingface.repository", "general.source.repo_url", "general.base_model.0.repo_url",
    ]
    return keys.lazy.compactMap { metadata[$0]?.string }.compactMap { address in
      qualified(address.split(separator: "/").suffix(2).joined(separator: "/"))
    }.first
  }

  private static func qualified(_ name: String) -> String? { RepositoryID.isQualifiedName(name) ? name : nil }
}
