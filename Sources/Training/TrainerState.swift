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
      throw SwiftletError.checkpoint(path: url.path, reason: "this is not a trainer state: \(cause)")
    }
    let reader = Reader(json: json, path: url.path)
    guard json["global_step"]?.integer != nil, let history = json["log_history"]?.array else {
      throw SwiftletError.checkpoint(
        path: url.path, reason: "this is not a trainer state: global_step or log_history is missing")
    }
    globalStep = try reader.count("global_step")
    maxSteps = try reader.count("max_steps")
    numTrainEpochs = try reader.count("num_train_epochs")
    epoch = try reader.number("epoch")
    trainBatchSize = try reader.count("train_batch_size")
    numInputTokensSeen = try reader.count("num_input_tokens_seen")
    loggingSteps = try reader.interval("logging_steps")
    evalSteps = try reader.interval("eval_steps")
    saveSteps = try reader.interval("save_steps")
    bestMetric = json["best_metric"]?.double
    bestGlobalStep = json["best_global_step"]?.integer
    bestModelCheckpoint = json["best_model_checkpoint"]?.string
    unlogged = try UnloggedSteps(json["stateful_callbacks"]?[UnloggedSteps.key], path: url.path)
    logHistory = history.compactMap(\.object)
  }

  /// Reads numbers that must not overflow when a run adds to them.
  struct Reader {
    let json: JSONValue
    let path: String

    /// The largest count that is accepted: every integer up to it is exact as a JSON number.
    static let maximum = 1 << 53

    /// A count from 0 to 2^53; 0 if it is missing.
    func count(_ key: String) throws(SwiftletError) -> Int {
      guard let value = json[key], !value.isNull else { return 0 }
      guard let count = value.integer, (0...Self.maximum).contains(count) else {
        throw SwiftletError.checkpoint(path: path, reason: "\(key) must be an integer from 0 to 2^53")
      }
      return count
    }

    /// A number of steps; transformers writes a fraction of the run if it was given one.
    func interval(_ key: String) throws(SwiftletError) -> Int {
      json[key]?.integer == nil ? Int(clamping: try number(key)) : try count(key)
    }

    /// A finite number; 0 if it is missing.
    func number(_ key: String) throws(SwiftletError) -> Double {
      guard let value = json[key], !value.isNull else { return 0 }
      guard let number = value.double, number.isFinite else {
        throw SwiftletError.checkpoint(path: path, reason: "\(key) must be a number")
      }
      return number
    }
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
    predicted += report.predictedTokens
    correct += report.correctTokens
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

  init(_ json: JSONValue?, path: String) throws(SwiftletError) {
    guard let values = json?["attributes"] else { return }
    let reader = TrainerState.Reader(json: values, path: path)
    steps = try reader.count("steps")
    loss = try reader.number("loss")
    predicted = try reader.count("predicted")
    correct = try reader.count("correct")
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
