import Datasets
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Reports
import Tensors
import Training

/// What the keys of a recipe are written into. Most keys set a member of the types that a run is configured with; the
/// others are kept as the recipe spells them and applied by `resolve()`, once all keys are known.
struct RecipeDraft: Sendable {
  var model = BaseModel()
  var loadsIn4Bit = false
  var fourBitType = FourBitType.nf4
  var isDoubleQuantized = false
  var unquantizedModules: [String]?

  var usesPEFT = false
  var lora = Self.trlAdapter
  var targetModules: LoRAConfiguration.TargetModules?
  var rankPatterns = RecipePatterns<Int>()
  var alphaPatterns = RecipePatterns<Double>()

  var data = DataArguments()
  var method = TrainingMethod.Name.sft
  var dpo = DPOConfiguration()
  var orpo = ORPOConfiguration()
  var cpo = CPOConfiguration()
  var kto = KTOConfiguration()
  var grpo = GRPOConfiguration()
  var reward = RewardConfiguration()
  var classification = ClassificationConfiguration()
  var teacher: String?
  var distillation = DistillationConfiguration(teacher: "")
  /// Of every method that has a reference model.
  var reference = ReferenceSettings()
  var training = TrainingConfiguration()
  var packs = false
  var packingStrategy = PackingStrategy.bfd
  var packsValidation: Bool?
  var shufflesDataset = false
  var sgdArguments: SGDArguments?
  var reports = ReportConfiguration()
  var publication = Publication()
  var hidesProgress = false

  /// Nothing set: TRL's defaults for a method.
  init(_ method: TrainingMethod.Name = .sft) {
    self.method = method
    training = TrainingConfiguration(method: TrainingMethod(method))
    shufflesDataset = method == .grpo
  }

  /// TRL's defaults for an adapter, where they differ from PEFT's.
  private static var trlAdapter: LoRAConfiguration {
    var configuration = LoRAConfiguration()
    configuration.rank = 16
    configuration.alpha = 32
    configuration.dropout = 0.05
    return configuration
  }

  /// `layers_to_transform`: PEFT takes a single number too. A layer's index cannot be negative.
  var layersToTransform: [Int]? {
    get { lora.layersToTransform }
    set { lora.layersToTransform = newValue }
  }

  /// `id2label`: names in order, or by their numbers.
  var classLabels: RecipeLabels {
    get { RecipeLabels(names: classification.labels) }
    set { classification.labels = newValue.names }
  }

  /// TRL's `use_cpu`: another way to choose the CPU.
  var usesCPU: Bool {
    get { model.device == .cpu }
    set { if newValue { model.device = .cpu } }
  }

  /// `min_p` as TRL spells it: null for none.
  var minimumProbability: Float? {
    get { grpo.sampling.minP > 0 ? grpo.sampling.minP : nil }
    set { grpo.sampling.minP = newValue ?? 0 }
  }

  /// `max_steps` as a recipe spells it.
  var maxStepsOrMinusOne: Int {
    get { training.maxSteps ?? -1 }
    set { training.maxSteps = newValue < 0 ? nil : newValue }
  }

  /// Applies what depends on several keys.
  mutating func resolve() {
    model.quantization =
      loadsIn4Bit
      ? QuantizationConfiguration(
        FourBitFormat(fourBitType.elementType, doubleQuantized: isDoubleQuantized), skippedModules: unquantizedModules)
      : nil
    dpo.reference = reference
    kto.reference = reference
    grpo.reference = reference
    training.method =
      switch method {
      case .sft: .sft
      case .dpo: .dpo(dpo)
      case .orpo: .orpo(orpo)
      case .cpo: .cpo(cpo)
      case .kto: .kto(kto)
      case .grpo: .grpo(grpo)
      case .reward: .reward(reward)
      case .classify: .classify(classification)
      }
    if let teacher {
      training.distillation = distillation
      training.distillation?.teacher = teacher.expandingTilde
    }
    training.outputDir = training.outputDir.expandingTilde
    reports.tensorBoardFolder = reports.tensorBoardFolder?.expandingTilde
    lora.task = training.method.scoresSequences ? .sequenceClassification : .languageModel
    lora.targetModules = targetModules
    lora.rankPattern = rankPatterns.patterns
    lora.alphaPattern = alphaPatterns.patterns
    training.preparation.packing = packs ? packingStrategy : nil
    training.evalPacking = packsValidation.map { $0 ? .packed(packingStrategy) : .unpacked } ?? .asInTraining
    // TRL shuffles with the run's seed, validation rows too.
    training.preparation.shuffleSeed = shufflesDataset ? UInt64(max(0, training.seed)) : nil
    if method == .grpo {
      // There, it is about the order of the prompts.
      training.preparation.shuffleSeed = nil
      if !shufflesDataset { training.samplingStrategy = .sequential }
    }
    if let sgdArguments {
      training.optimizer.momentum = sgdArguments.momentum
      training.optimizer.dampening = sgdArguments.dampening
      training.optimizer.nesterov = sgdArguments.nesterov
    }
  }

  /// The draft that resolves to these settings.
  init(
    model: BaseModel, adapter: LoRAConfiguration?, training: TrainingConfiguration, reports: ReportConfiguration
  ) {
    self.model = model
    if let quantization = model.quantization {
      loadsIn4Bit = true
      fourBitType = quantization.format.type == .fp4 ? .fp4 : .nf4
      isDoubleQuantized = quantization.format.doubleQuantized
      unquantizedModules = quantization.skippedModules
    }
    if let adapter {
      usesPEFT = true
      lora = adapter
      targetModules = adapter.targetModules
      rankPatterns.patterns = adapter.rankPattern
      alphaPatterns.patterns = adapter.alphaPattern
    }
    self.training = training
    method = training.method.name
    switch training.method {
    case .sft: break
    case .dpo(let settings): dpo = settings
    case .orpo(let settings): orpo = settings
    case .cpo(let settings): cpo = settings
    case .kto(let settings): kto = settings
    case .grpo(let settings):
      grpo = settings
      reference = settings.reference
    case .reward(let settings): reward = settings
    case .classify(let settings): classification = settings
    }
    if let known = training.distillation {
      distillation = known
      teacher = known.teacher
    }
    reference = training.method.settings?.referenceSettings ?? reference
    packs = training.preparation.packing != nil
    packingStrategy = training.preparation.packing ?? .bfd
    switch training.evalPacking {
    case .asInTraining: packsValidation = nil
    case .unpacked: packsValidation = false
    case .packed(let strategy):
      packsValidation = true
      if !packs { packingStrategy = strategy }
    }
    shufflesDataset =
      method == .grpo ? training.samplingStrategy == .random : training.preparation.shuffleSeed != nil
    let optimizer = training.optimizer
    if optimizer.momentum != 0 || optimizer.dampening != 0 || optimizer.nesterov {
      sgdArguments = SGDArguments(
        momentum: optimizer.momentum, dampening: optimizer.dampening, nesterov: optimizer.nesterov)
    }
    self.reports = reports
  }

  /// Every honored key with its value, in the order of the documentation.
  var arguments: JSONObject {
    JSONObject(RecipeKey.all(for: method).compactMap { key in key.value.map { (key.name, $0(self)) } })
  }
}

/// bitsandbytes' names of the 4-bit types.
enum FourBitType: String, Sendable, CaseIterable, RecipeWord {
  case nf4, fp4

  var elementType: ElementType { self == .nf4 ? .nf4 : .fp4 }
}

/// `optim_args`: the settings of SGD.
struct SGDArguments: Sendable, Hashable {
  var momentum = 0.0
  var dampening = 0.0
  var nesterov = false
}
