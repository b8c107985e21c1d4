import Essentials
import Models
import OrderedJSON
import Reports
import Training

extension ModelCard {
  /// A card that tells what the recipe says about its run. The counts and answers are still missing.
  /// - Parameters:
  ///   - recipe: the settings of the run.
  ///   - state: the final state of the run.
  ///   - files: the base model, whose files may tell where it comes from.
  public init(recipe: Recipe, state: TrainerState, files: ModelFiles? = nil) {
    let base = BaseModelReference(recipe.model.name, located: recipe.locate(recipe.model.name), files: files)
    let name = base.name(in: URL(fileURLWithPath: recipe.training.outputDir))
    self.init(
      title: recipe.training.runName ?? URL(fileURLWithPath: recipe.training.outputDir).lastPathComponent,
      baseModel: name, baseName: base.hubName ?? base.shortName, adapterRank: recipe.lora?.rank, state: state)
    if let format = recipe.model.quantization?.format {
      quantizationOptions = ["--load-in-4bit", "--bnb-4bit-quant-type", format.type.rawValue]
      if format.doubleQuantized { quantizationOptions.append("--bnb-4bit-use-double-quant") }
    }
    sources = recipe.data.trainSources.map { source in
      Source(
        source.query ?? source.path.withoutPrivateFolders, split: source.split, share: source.fraction,
        isQuery: source.query != nil)
    }
    self.recipe = recipe.publicYAML
  }
}

extension Recipe {
  /// The recipe for others to read: as `yaml`, but absolute paths and those in the home directory are cut down to the
  /// name of the file or folder.
  fileprivate var publicYAML: String {
    yaml { value in value.withoutPrivateFolders }
  }
}

extension JSONValue {
  fileprivate var withoutPrivateFolders: JSONValue {
    switch self {
    case .string(let text): .string(text.withoutPrivateFolders)
    case .array(let elements): .array(elements.map(\.withoutPrivateFolders))
    case .object(let object):
      .object(JSONObject(object.members.map { ($0.key, $0.value.withoutPrivateFolders) }))
    default: self
    }
  }
}

extension String {
  /// The last component of an absolute path or one in the home directory; other text unchanged.
  fileprivate var withoutPrivateFolders: String {
    guard hasPrefix("/") || hasPrefix("~/"), !contains("\n"), let name = split(separator: "/").last else { return self }
    return String(name)
  }
}
