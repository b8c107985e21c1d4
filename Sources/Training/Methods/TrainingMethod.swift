import Datasets

/// What training does with the rows: the loss, and how a row becomes sequences. Everything else is the same for all
/// methods.
public enum TrainingMethod: Sendable, Hashable, Codable {
  /// Supervised fine-tuning: predict the trained tokens.
  case sft
  /// Direct preference optimization on pairs of completions.
  case dpo(DPOConfiguration)

  /// The name of the command and in recipes.
  public var name: Name {
    switch self {
    case .sft: .sft
    case .dpo: .dpo
    }
  }

  /// The methods by name.
  public enum Name: String, Sendable, CaseIterable, Codable {
    case sft, dpo
  }

  /// The method of this name with the reference's defaults.
  public init(_ name: Name) {
    self =
      switch name {
      case .sft: .sft
      case .dpo: .dpo(DPOConfiguration())
      }
  }

  /// What a row becomes.
  var rowKind: PreparationOptions.RowKind {
    switch self {
    case .sft: .sequence
    case .dpo: .preferencePair
    }
  }

  /// The model before training that the loss compares with, if it needs one.
  var reference: Reference? {
    switch self {
    case .sft: nil
    case .dpo(let configuration):
      Reference(
        isPrecomputed: configuration.precomputesReference, precomputeBatchSize: configuration.precomputeBatchSize,
        sync: configuration.syncsReference ? (configuration.referenceSyncSteps, configuration.referenceMixup) : nil)
    }
  }

  /// How the reference model is used.
  struct Reference {
    /// Whether its log-probabilities are computed before training.
    var isPrecomputed: Bool
    /// Rows per batch in that computation.
    var precomputeBatchSize: Int?
    /// After how many steps it moves toward the trained model, and how far.
    var sync: (steps: Int, share: Double)?
  }

  /// Why the settings cannot be honored; `nil` if they can.
  package func problem(trainsAdapter: Bool) -> String? {
    switch self {
    case .sft: nil
    case .dpo(let configuration): configuration.problem(trainsAdapter: trainsAdapter)
    }
  }
}

extension TrainingConfiguration {
  /// A configuration with TRL's defaults for a method.
  public init(method: TrainingMethod) {
    self.init()
    self.method = method
    guard method != .sft else { return }
    learningRate = 1e-6
    disablesDropout = true
  }
}
