// `import Swiftlet` is enough: it brings in every module whose types appear in this module's API.
@_exported import ChatTemplates
@_exported import Datasets
@_exported import Diagnostics
@_exported import Models
@_exported import OrderedJSON
@_exported import Recipes
@_exported import Reports
@_exported import Tensors
@_exported import Training

extension LoRAConfiguration {
  /// A LoRA adapter.
  /// - Parameters:
  ///   - rank: the rank of the update.
  ///   - alpha: the numerator of its scale, alpha/rank; twice the rank by default.
  ///   - dropout: the share of the adapter's input to drop in training.
  ///   - targetModules: the layers that get an update.
  public static func lora(
    rank: Int = 16, alpha: Double? = nil, dropout: Double = 0, targetModules: TargetModules = .allLinear
  ) -> LoRAConfiguration {
    var configuration = LoRAConfiguration()
    configuration.rank = rank
    configuration.alpha = alpha ?? Double(2 * rank)
    configuration.dropout = dropout
    configuration.targetModules = targetModules
    return configuration
  }
}
