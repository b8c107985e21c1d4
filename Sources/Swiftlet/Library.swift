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

/// How training runs, by TRL's name.
public typealias SFTConfig = TrainingArguments

/// What an adapter looks like, by the short name that people use.
public typealias LoRA = LoRAConfiguration

extension LoRAConfiguration {
  /// An adapter of rank `r` on these layers, scaled by `alpha / r`.
  public init(r: Int, alpha: Double, dropout: Double = 0, targets: TargetModules = .allLinear) {
    self.init()
    rank = r
    self.alpha = alpha
    self.dropout = dropout
    targetModules = targets
  }
}
