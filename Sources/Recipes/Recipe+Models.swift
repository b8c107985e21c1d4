import Models
import Tensors

extension LoRAConfiguration {
  /// The configuration that a recipe's keys describe.
  package init(_ arguments: LoRAArguments) {
    self.init()
    rank = arguments.rank
    alpha = arguments.alpha
    dropout = arguments.dropout
    usesRSLoRA = arguments.usesRSLoRA
    modulesToSave = arguments.modulesToSave
    rankPattern = arguments.rankPattern.map { ModulePattern($0.pattern, $0.value) }
    alphaPattern = arguments.alphaPattern.map { ModulePattern($0.pattern, $0.value) }
    initialization = arguments.initialization
    targetModules = arguments.targetModules.map(TargetModules.init)
    excludeModules = arguments.excludeModules.map(TargetModules.init)
  }
}

extension LoRAConfiguration.TargetModules {
  /// The modules that a recipe names.
  fileprivate init(_ modules: LoRAArguments.TargetModules) {
    switch modules {
    case .allLinear: self = .allLinear
    case .names(let names): self = .names(names)
    case .pattern(let pattern): self = .pattern(pattern)
    }
  }
}

extension ModelArguments {
  /// How the base is quantized on loading; `nil` where it is not.
  public var quantization: QuantizationConfiguration? {
    guard loadIn4Bit else { return nil }
    return QuantizationConfiguration(
      FourBitFormat(quantType == .nf4 ? .nf4 : .fp4, doubleQuantized: usesNestedQuantization),
      skippedModules: unquantizedModules)
  }
}
