import Models
import Tensors

/// How a model is trained on the predictions of a teacher instead of the tokens of the rows: off-policy distillation, as
/// TRL's `GKDConfig` with `lmbda` 0.
public struct DistillationConfiguration: Sendable, Hashable, Codable {
  /// The teacher: a folder, a GGUF file or `org/name`. Its vocabulary must be that of the model.
  public var teacher: String
  /// The branch, tag or commit of `org/name`; `nil` for its default branch.
  public var teacherRevision: String?
  /// Which divergence between the teacher and the model is minimized, from 0 to 1: the forward KL divergence at 0, the
  /// reverse one at 1, and generalized Jensen-Shannon divergences in between (arXiv:2306.13649, equation 1).
  public var beta = 0.5
  /// What the logits of both are divided by.
  public var temperature = 1.0

  /// Distillation from this teacher with TRL's defaults.
  public init(teacher: String) { self.teacher = teacher }
}

/// The divergence between a teacher's predictions and those of the model, a mean over the predicted tokens.
public struct DistillationLoss: TrainingLoss {
  private let beta: Float
  private let temperature: Float

  /// A loss with the divergence and temperature of the configuration.
  public init(_ configuration: DistillationConfiguration) {
    (beta, temperature) = (Float(configuration.beta), Float(configuration.temperature))
  }

  /// As in training.
  public func validate(_ pass: TrainingPass) -> LossSums { compute(pass) }

  /// Computes the loss of one batch. The trainer checks that the pass has a teacher.
  public func compute(_ pass: TrainingPass) -> LossSums {
    guard let teacher = pass.teacher else { return LossSums() }
    // Both have the same rows.
    let sharesPrefix = teacher.canSharePrefix
    let known = pass.hiddenStates(of: teacher, sharingPrefix: sharesPrefix)
    let (hidden, targets) = pass.hiddenStates(sharingPrefix: sharesPrefix)
    return pass.tape.linearDivergence(
      hidden, head: pass.model.head, targets: targets,
      from: TeacherStates(hidden: known, head: teacher.head, softcap: teacher.configuration.logitSoftcap),
      beta: beta, temperature: temperature, gradientScale: pass.gradientScale,
      softcap: pass.model.configuration.logitSoftcap)
  }
}
