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
        source.publicName, split: source.split, share: source.fraction,
        isQuery: source.query != nil)
    }
    self.recipe = recipe.publicYAML
  }
}
