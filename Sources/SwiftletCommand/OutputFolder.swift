import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Swiftlet

/// Refuses to overwrite other results silently.
enum OutputFolder {
  /// Checks that the output folder of a run holds no result of a run with another model or other rows.
  /// - Throws: `SwiftletError` naming what differs.
  static func checkUnused(by recipe: Recipe, overwrites: Bool) throws(SwiftletError) {
    guard !overwrites, recipe.training.resume == .fromStart else { return }
    let folder = URL(fileURLWithPath: recipe.training.outputDir)
    guard let data = try? RegularFile.contents(of: folder.appendingPathComponent("training_args.json")),
      let earlier = try? JSONValue(parsing: data)
    else { return }
    let remedy = "choose another output_dir, or add --overwrite"
    let current = JSONValue.object(recipe.arguments(publishedIn: folder))
    if let model = earlier["model_name_or_path"]?.string, model != current["model_name_or_path"]?.string {
      throw SwiftletError.recipe(
        FileLocation(file: recipe.training.outputDir),
        "this folder has a result for the model \(model.quotedExcerpt); \(remedy)")
    }
    if let usesPEFT = earlier["use_peft"]?.bool, usesPEFT != (recipe.lora != nil) {
      throw SwiftletError.recipe(
        FileLocation(file: recipe.training.outputDir),
        "this folder has \(usesPEFT ? "an adapter" : "a model trained in full"), and use_peft is \(!usesPEFT); \(remedy)"
      )
    }
    let before = sources(earlier)
    if !before.isEmpty, before != sources(current) {
      throw SwiftletError.recipe(
        FileLocation(file: recipe.training.outputDir),
        "this folder has a result for the dataset \(before.joined(separator: ", ").quotedExcerpt); \(remedy)")
    }
  }

  /// The training sources that `training_args.json` lists.
  private static func sources(_ arguments: JSONValue) -> [String] {
    if let list = arguments["datasets"]?.array, !list.isEmpty {
      return list.compactMap { $0.string ?? $0["query"]?.string ?? $0["path"]?.string }
    }
    return [arguments["query"]?.string ?? arguments["dataset_name"]?.string].compactMap(\.self)
  }

  /// Checks that a folder to write a model or adapter to is none of `sources`, and holds no PEFT adapter.
  /// - Throws: `SwiftletError` naming the folder.
  static func checkUnused(_ folder: String, besides sources: [String]) throws(SwiftletError) {
    if sources.contains(where: { isSameFile($0, folder) }) {
      throw SwiftletError.model("\(folder) is what is exported; choose another --output, or add --overwrite")
    }
    let adapter = URL(fileURLWithPath: folder.expandingTilde).appendingPathComponent("adapter_model.safetensors")
    if FileManager.default.fileExists(atPath: adapter.path) {
      throw SwiftletError.model(
        "\(folder): this folder contains an adapter; choose another --output, or add --overwrite")
    }
  }

  /// Whether two paths name the same file.
  static func isSameFile(_ first: String, _ second: String) -> Bool {
    func place(_ path: String) -> String {
      URL(fileURLWithPath: path.expandingTilde).standardizedFileURL.resolvingSymlinksInPath().path
    }
    return place(first) == place(second)
  }
}
