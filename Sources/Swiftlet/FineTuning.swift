import Collectives
import Datasets
import Diagnostics
import Essentials
import Models
import Recipes
import Reports
import Training

/// A training run, configured in Swift.
///
/// ```swift
/// let run = try FineTuning(model, adapter: .lora(rank: 8), data: data) {
///   $0.learningRate = 1e-3
///   $0.epochs = 2
/// }
/// for try await event in run.events {
///   if case .step(let step) = event { print(step.step, step.loss) }
/// }
/// try await run.save()
/// ```
///
/// The model trains in place, so it can be used as soon as the events end. It writes checkpoints and results to
/// `TrainingConfiguration.outputDir`, the same files as `swiftlet sft`.
public final class FineTuning: Sendable {
  /// The settings of the run.
  public let configuration: TrainingConfiguration
  private let job: Job
  private let core: ModelCore

  /// What the model's thread needs to carry out the run.
  struct Job: Sendable {
    let recipe: Recipe
    let data: Dataset
    let validation: Dataset?
    let components: Trainer.Components
    let callbacks: [any TrainerCallback & Sendable]
    let collective: any Collective
  }

  /// Configures a run. Nothing is read or trained yet.
  /// - Parameters:
  ///   - model: the model to train in place.
  ///   - adapter: the adapter to train; `nil` to train every weight, which converts the model to float32.
  ///   - method: what training does with the rows.
  ///   - data: the training rows, in any form that a recipe accepts: `text`, `prompt` and `completion`, or `messages`; for
  ///     preferences `prompt`, `chosen` and `rejected`.
  ///   - validation: the rows for the validation loss.
  ///   - reports: reports to write besides `trainer_state.json`.
  ///   - loss: replaces the loss of the configuration.
  ///   - updateRule: replaces the configuration's optimizer.
  ///   - schedule: replaces the configuration's learning rate schedule.
  ///   - rewards: replace those of the method `grpo`.
  ///   - callbacks: follow the run, on the model's thread.
  ///   - collective: the processes that share the run, such as `LaunchEnvironment.collective()`. Each of them must
  ///     configure the same run; only rank 0 writes files. If one of them throws, the others wait: end them with
  ///     `abort(status:)`.
  ///   - configure: changes the configuration, which starts from TRL's defaults.
  /// - Throws: `SwiftletError` for a configuration that contradicts itself.
  public init(
    _ model: LanguageModel, adapter: LoRAConfiguration? = nil, method: TrainingMethod = .sft, data: Dataset,
    validation: Dataset? = nil,
    reports: ReportConfiguration = ReportConfiguration(), loss: (any TrainingLoss)? = nil,
    updateRule: (any UpdateRule)? = nil, schedule: (any Schedule)? = nil, rewards: [any Reward]? = nil,
    callbacks: [any TrainerCallback & Sendable] = [], collective: any Collective = SingleProcess(),
    configure: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws(SwiftletError) {
    var configuration = TrainingConfiguration(method: method)
    configure(&configuration)
    try Self.check(configuration, hasValidation: validation != nil)
    if let problem = configuration.methodProblem(trainsAdapter: adapter != nil) {
      throw SwiftletError.training(problem)
    }
    self.configuration = configuration
    core = model.core
    job = Job(
      recipe: Recipe(
        model: BaseModel(model.name, quantization: model.quantization), adapter: adapter, training: configuration,
        reports: reports, datasetName: data.name),
      data: data, validation: validation,
      components: Trainer.Components(loss: loss, updateRule: updateRule, schedule: schedule, rewards: rewards),
      callbacks: callbacks,
      collective: collective)
  }

  /// Checks what can be checked without opening anything.
  private static func check(
    _ configuration: TrainingConfiguration, hasValidation: Bool
  ) throws(SwiftletError) {
    func require(_ condition: Bool, _ problem: String) throws(SwiftletError) {
      if !condition { throw SwiftletError.training(problem) }
    }
    try require(configuration.trainBatchSize > 0, "`trainBatchSize` must be positive")
    try require(configuration.evalBatchSize > 0, "`evalBatchSize` must be positive")
    try require(configuration.gradientAccumulationSteps > 0, "`gradientAccumulationSteps` must be positive")
    try require(configuration.learningRate > 0, "`learningRate` must be positive")
    try require(configuration.epochs >= 0 && configuration.epochs.isFinite, "`epochs` must not be negative")
    try require(configuration.maxSteps ?? 0 >= 0, "`maxSteps` must not be negative")
    try require((0..<1).contains(configuration.labelSmoothing), "`labelSmoothing` must be from 0 to below 1")
    try require(
      hasValidation || configuration.evalStrategy == .no, "`evalStrategy` needs validation rows; pass `validation`")
    try require(
      configuration.evalStrategy != .no || !configuration.loadBestModelAtEnd,
      "`loadBestModelAtEnd` needs an `evalStrategy`")
    try require(
      configuration.evalStrategy != .no || configuration.saveStrategy != .best,
      "`saveStrategy` best needs an `evalStrategy`")
    try require(
      configuration.earlyStoppingPatience == nil || configuration.loadBestModelAtEnd,
      "`earlyStoppingPatience` needs `loadBestModelAtEnd`")
    _ = try configuration.optimizer.updateRule()
  }

  deinit {
    let (core, id) = (core, ObjectIdentifier(self))
    Task { await core.forget(run: id) }
  }

  /// The events of the run, which trains while they are iterated over.
  ///
  /// If the iterating task is canceled, or leaves the loop, the run finishes its step and saves a checkpoint. A
  /// canceled loop still receives the events up to `.ended(.paused)`; then it ends without an error. Resume from the
  /// checkpoint with `TrainingConfiguration.resume`.
  ///
  /// Iterate once; to train again, configure another run.
  public var events: TrainingEvents {
    TrainingEvents(run: self) { [core, job] run, channel in
      await core.train(job, run: ObjectIdentifier(run), events: channel)
    }
  }

  /// Trains to the end without following the events.
  /// - Returns: how the run ended; paused if the task was canceled.
  /// - Throws: `SwiftletError` for rows that cannot be used, a loss that is not finite, or a file that cannot be
  ///   written.
  @discardableResult public func train() async throws -> Trainer.Ending {
    var ending = Trainer.Ending.stopped
    for try await event in events { if case .ended(let how) = event { ending = how } }
    return ending
  }

  /// Writes the result to `outputDir`: the adapter or model, tokenizer, log, settings, loss curve and model card.
  /// - Throws: `SwiftletError` if the run has not started, or a file cannot be written.
  public func save() async throws { try await core.save(run: ObjectIdentifier(self)) }

  /// The memory and time that the run will need. Opens the model and prepares the rows, but does not train.
  /// - Parameter calibrated: whether to measure this machine for a second, to predict the time.
  public func plan(calibrated: Bool = true) async throws -> RunPlan {
    try await core.plan(job, run: ObjectIdentifier(self), isCalibrated: calibrated)
  }
}

extension PreparedRows {
  /// The rows of a run that was configured in Swift.
  init(_ job: FineTuning.Job, _ tokens: RecipeTokens, model: CausalLM) throws {
    let template = tokens.template ?? model.chatTemplate?.source
    try self.init(
      training: job.data.resolve(), validation: job.validation?.resolve(),
      tokenizer: RowTokenizer(model.tokenizer, template: template, tokens.training), tokens.training)
  }
}
