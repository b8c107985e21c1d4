import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON

/// `trainer_state.json`: how far a run is and what it has logged, in the members that transformers' `TrainerState` has.
public struct TrainerState: Sendable {
  /// Optimizer steps taken.
  public var globalStep = 0
  /// Optimizer steps of the whole run.
  public var maxSteps = 0
  /// Passes over the rows of the whole run, rounded up.
  public var numTrainEpochs = 0
  /// Passes over the rows so far.
  public var epoch = 0.0
  /// Rows a batch.
  public var trainBatchSize = 0
  /// Tokens that went through the model so far.
  public var numInputTokensSeen = 0
  /// Optimizer steps between logs.
  public var loggingSteps = 0
  /// Optimizer steps between evaluations.
  public var evalSteps = 0
  /// Optimizer steps between checkpoints.
  public var saveSteps = 0
  /// The lowest evaluation loss.
  public var bestMetric: Double?
  /// The step of the lowest evaluation loss.
  public var bestGlobalStep: Int?
  /// The checkpoint of the lowest evaluation loss.
  public var bestModelCheckpoint: String?
  /// The steps since the last log; a run that is taken up between two logs goes on with them.
  public var unlogged = UnloggedSteps()
  /// What was logged, in order; see `TrainingLog` and `EvaluationLog`.
  public var logHistory: [JSONObject] = []

  /// The state before the first step.
  public init() {}

  /// Adds what an optimizer step logs.
  public mutating func append(_ log: TrainingLog) { logHistory.append(log.object) }

  /// Adds an evaluation, and keeps its loss if it is the lowest after a step.
  public mutating func append(_ log: EvaluationLog, checkpoint: String? = nil) {
    logHistory.append(log.object)
    if log.step > 0, log.loss < bestMetric ?? .infinity {
      bestMetric = log.loss
      bestGlobalStep = log.step
      bestModelCheckpoint = checkpoint
    }
  }

  /// The members as transformers writes them.
  public var json: JSONValue {
    [
      "best_global_step": bestGlobalStep.map { .integer($0) } ?? .null,
      "best_metric": bestMetric.map { .number($0) } ?? .null,
      "best_model_checkpoint": bestModelCheckpoint.map { .string($0) } ?? .null,
      "epoch": .number(epoch),
      "eval_steps": .integer(evalSteps),
      "global_step": .integer(globalStep),
      "is_hyper_param_search": false,
      "is_local_process_zero": true,
      "is_world_process_zero": true,
      "log_history": .array(logHistory.map { .object($0) }),
      "logging_steps": .integer(loggingSteps),
      "max_steps": .integer(maxSteps),
      "num_input_tokens_seen": .integer(numInputTokensSeen),
      "num_train_epochs": .integer(numTrainEpochs),
      "save_steps": .integer(saveSteps),
      "stateful_callbacks": unlogged.steps == 0 ? [:] : [UnloggedSteps.key: unlogged.json],
      "total_flos": 0.0,
      "train_batch_size": .integer(trainBatchSize),
      "trial_name": nil,
      "trial_params": nil,
    ]
  }

  /// Writes the file in one piece.
  /// - Throws: `SwiftletError` where it cannot be written.
  public func write(to url: URL) throws(SwiftletError) {
    try AtomicFile.write(json.text(.pretty) + "\n", to: url)
  }

  /// Reads a file that this type, or transformers, wrote.
  /// - Throws: `SwiftletError` where it cannot be read or lacks the step.
  public init(contentsOf url: URL) throws(SwiftletError) {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: Data(contentsOf: url))
    } catch {
      let cause = (error as? SwiftletError)?.description ?? "it cannot be opened"
      throw SwiftletError.checkpoint(path: url.path, reason: "this is not a trainer's state: \(cause)")
    }
    guard let step = json["global_step"]?.integer, step >= 0, let history = json["log_history"]?.array else {
      throw SwiftletError.checkpoint(
        path: url.path, reason: "this is no trainer's state: global_step or log_history is missing")
    }
    globalStep = step
    maxSteps = json["max_steps"]?.integer ?? 0
    numTrainEpochs = json["num_train_epochs"]?.integer ?? 0
    epoch = json["epoch"]?.double ?? 0
    trainBatchSize = json["train_batch_size"]?.integer ?? 0
    numInputTokensSeen = json["num_input_tokens_seen"]?.integer ?? 0
    loggingSteps = json["logging_steps"]?.integer ?? 0
    evalSteps = json["eval_steps"]?.integer ?? 0
    saveSteps = json["save_steps"]?.integer ?? 0
    bestMetric = json["best_metric"]?.double
    bestGlobalStep = json["best_global_step"]?.integer
    bestModelCheckpoint = json["best_model_checkpoint"]?.string
    unlogged = UnloggedSteps(json["stateful_callbacks"]?[UnloggedSteps.key])
    logHistory = history.compactMap(\.object)
  }
}

/// Sums over the optimizer steps since the last log.
public struct UnloggedSteps: Sendable, Hashable {
  /// Steps taken.
  public var steps = 0
  /// The sum of the steps' losses.
  public var loss = 0.0
  /// Tokens predicted.
  public var predicted = 0
  /// Of these, where the likeliest was the right one.
  public var correct = 0

  /// No steps.
  public init() {}

  /// The mean of the steps' losses.
  public var meanLoss: Double { loss / Double(max(1, steps)) }
  /// The share of predicted tokens that were the likeliest.
  public var accuracy: Double { Double(correct) / Double(max(1, predicted)) }

  mutating func add(_ report: StepReport) {
    steps += 1
    loss += report.loss
    predicted += report.sums.count
    correct += report.sums.correct
  }

  /// transformers reads `trainer_state.json` only with the members it knows; among them it leaves `stateful_callbacks`
  /// of unknown names alone.
  static let key = "UnloggedSteps"

  var json: JSONValue {
    [
      "args": [:],
      "attributes": [
        "steps": .integer(steps), "loss": .number(loss), "predicted": .integer(predicted), "correct": .integer(correct),
      ],
    ]
  }

  init(_ json: JSONValue?) {
    guard let values = json?["attributes"] else { return }
    steps = values["steps"]?.integer ?? 0
    loss = values["loss"]?.double ?? 0
    predicted = values["predicted"]?.integer ?? 0
    correct = values["correct"]?.integer ?? 0
  }
}

/// What is logged of training.
public struct TrainingLog: Sendable, Hashable {
  /// Optimizer steps taken.
  public var step: Int
  /// Passes over the rows.
  public var epoch: Double
  /// The mean loss a token since the last log, in nats.
  public var loss: Double
  /// The global gradient norm before clipping.
  public var gradNorm: Double
  /// The rate of the last step.
  public var learningRate: Double
  /// Tokens that went through the model so far.
  public var numTokens: Int
  /// The share of predicted tokens that were the likeliest, where it was measured.
  public var meanTokenAccuracy: Double?
  /// Seconds since the first step began.
  public var elapsed: Double

  /// A log.
  public init(
    step: Int, epoch: Double, loss: Double, gradNorm: Double, learningRate: Double, numTokens: Int,
    meanTokenAccuracy: Double? = nil, elapsed: Double
  ) {
    self.step = step
    self.epoch = epoch
    self.loss = loss
    self.gradNorm = gradNorm
    self.learningRate = learningRate
    self.numTokens = numTokens
    self.meanTokenAccuracy = meanTokenAccuracy
    self.elapsed = elapsed
  }

  /// The log as an entry of `log_history`.
  public var object: JSONObject {
    var object = JSONObject([
      ("elapsed_s", .number(elapsed)), ("epoch", .number(epoch)), ("grad_norm", .number(gradNorm)),
      ("learning_rate", .number(learningRate)), ("loss", .number(loss)),
    ])
    object["mean_token_accuracy"] = meanTokenAccuracy.map { .number($0) }
    object["num_tokens"] = .integer(numTokens)
    object["step"] = .integer(step)
    return object
  }
}

/// What is logged of an evaluation.
public struct EvaluationLog: Sendable, Hashable {
  /// Optimizer steps taken before it.
  public var step: Int
  /// Passes over the training rows before it.
  public var epoch: Double
  /// The mean loss a token over all held-out rows, in nats.
  public var loss: Double
  /// The predicted tokens it is a mean of.
  public var tokens: Int
  /// Seconds it took.
  public var runtime: Double

  /// A log.
  public init(step: Int, epoch: Double, loss: Double, tokens: Int, runtime: Double) {
    self.step = step
    self.epoch = epoch
    self.loss = loss
    self.tokens = tokens
    self.runtime = runtime
  }

  /// The log as an entry of `log_history`.
  public var object: JSONObject {
    JSONObject([
      ("epoch", .number(epoch)), ("eval_loss", .number(loss)), ("eval_num_tokens", .integer(tokens)),
      ("eval_runtime", .number(runtime)), ("step", .integer(step)),
    ])
  }
}
