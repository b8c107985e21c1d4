// One import is enough: `import FineTuning` also brings models, adapters, rows and their steps.
@_exported import Datasets
@_exported import Models

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
