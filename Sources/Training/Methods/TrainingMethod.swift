import Datasets
import Diagnostics

/// What training does with the rows: the loss, and how a row becomes sequences. Everything else is the same for all
/// methods.
public enum TrainingMethod: Sendable, Hashable, Codable {
  /// Supervised fine-tuning: predict the trained tokens.
  case sft
  /// Direct preference optimization on pairs of completions.
  case dpo(DPOConfiguration)
  /// Odds ratio preference optimization on pairs of completions, without a reference.
  case orpo(ORPOConfiguration)
  /// Contrastive preference optimization or SimPO on pairs of completions, without a reference.
  case cpo(CPOConfiguration)
  /// Kahneman-Tversky optimization on single completions.
  case kto(KTOConfiguration)
  /// Group relative policy optimization on the model's own completions, which rewards judge.
  case grpo(GRPOConfiguration)
  /// Reward modeling on pairs of completions: a head that gives the preferred one the higher score.
  case reward(RewardConfiguration)
  /// Sequence classification: a head that scores the labels of a text or conversation.
  case classify(ClassificationConfiguration)

  /// The methods by name, which is that of the command.
  public enum Name: String, Sendable, CaseIterable, Codable {
    case sft, dpo, orpo, cpo, kto, grpo, reward, classify
  }

  /// The method of this name with the reference's defaults.
  public init(_ name: Name) {
    self =
      switch name {
      case .sft: .sft
      case .dpo: .dpo(DPOConfiguration())
      case .orpo: .orpo(ORPOConfiguration())
      case .cpo: .cpo(CPOConfiguration())
      case .kto: .kto(KTOConfiguration())
      case .grpo: .grpo(GRPOConfiguration())
      case .reward: .reward(RewardConfiguration())
      case .classify: .classify(ClassificationConfiguration())
      }
  }

  /// The name of the method.
  public var name: Name {
    switch self {
    case .sft: .sft
    case .dpo: .dpo
    case .orpo: .orpo
    case .cpo: .cpo
    case .kto: .kto
    case .grpo: .grpo
    case .reward: .reward
    case .classify: .classify
    }
  }

  /// The method's own settings; `nil` for supervised fine-tuning, whose settings are those of the configuration.
  package var settings: (any MethodSettings)? {
    switch self {
    case .sft: nil
    case .dpo(let settings): settings
    case .orpo(let settings): settings
    case .cpo(let settings): settings
    case .kto(let settings): settings
    case .grpo(let settings): settings
    case .reward(let settings): settings
    case .classify(let settings): settings
    }
  }
}

/// What a row of the dataset becomes.
package typealias RowKind = PreparationOptions.RowKind

/// The settings of a method, which decide how it differs from others.
package protocol MethodSettings: Sendable {
  /// The loss that training minimizes.
  var loss: any TrainingLoss { get }
  /// What a row becomes.
  var rowKind: RowKind { get }
  /// How the model before training is used; `nil` if the loss doesn't compare with it.
  var referenceSettings: ReferenceSettings? { get }
  /// What shows the progress of a run, if that isn't the loss: the name of a metric.
  var progressMetric: String? { get }
  /// The rewards that the settings name; `nil` for a method without rewards.
  /// - Parameter locate: finds files that command lines name.
  func rewards(locate: (String) -> String) throws(SwiftletError) -> [any Reward]?
  /// Why the settings cannot be honored, naming members in backticks; `nil` if they can.
  func problem(_ configuration: TrainingConfiguration, trainsAdapter: Bool) -> String?
}

extension MethodSettings {
  package var referenceSettings: ReferenceSettings? { nil }
  package var progressMetric: String? { nil }
  package func rewards(locate: (String) -> String) throws(SwiftletError) -> [any Reward]? { nil }
}

extension TrainingConfiguration {
  /// A configuration with TRL's defaults for a method, or transformers' for `classify`.
  public init(method: TrainingMethod) {
    self.init()
    self.method = method
    switch method {
    case .sft: return
    case .classify: learningRate = 5e-5
    case .reward: (learningRate, disablesDropout) = (1e-4, true)
    case .grpo:
      learningRate = 1e-6
      // Prompts are not truncated.
      preparation.maxLength = nil
    case .dpo, .orpo, .cpo, .kto: (learningRate, disablesDropout) = (1e-6, true)
    }
    if case .kto = method { samplingStrategy = .sequential }
  }

  /// Why the method's settings cannot be honored; `nil` if they can.
  package func methodProblem(trainsAdapter: Bool) -> String? {
    method.settings?.problem(self, trainsAdapter: trainsAdapter)
  }
}
