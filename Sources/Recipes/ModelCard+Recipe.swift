import Essentials
import Models
import Reports
import Training

extension ModelCard {
  /// A card that tells what the recipe says about its run. The counts and answers are still missing.
  public init(recipe: Recipe, state: TrainerState) {
    self.init(
      title: recipe.training.runName ?? URL(fileURLWithPath: recipe.training.outputDir).lastPathComponent,
      baseModel: recipe.model.name.abbreviatingHome, adapterRank: recipe.lora?.rank,
      outputFolder: recipe.training.outputDir.abbreviatingHome, state: state)
    if let format = recipe.model.quantization?.format {
      quantizationOptions = ["--load-in-4bit", "--bnb-4bit-quant-type", format.type.rawValue]
      if format.doubleQuantized { quantizationOptions.append("--bnb-4bit-use-double-quant") }
    }
    sources = recipe.data.trainSources.map { source in
      Source(
        (source.query ?? source.path).hidingHome, split: source.split, share: source.fraction, isQuery: source.query != nil)
    }
    self.recipe = recipe.yaml.hidingHome
  }
}
