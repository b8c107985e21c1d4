import Diagnostics
import Checkpoints
import Essentials
import OrderedJSON
import Tensors

/// The progress and log of a run: `trainer_state.json`, with the members of transformers' `TrainerState`.
public struct TrainerState: Sendable {
  /// The number of optimizer steps taken.
  public var globalStep = 0
  /// The number of optimizer steps of the run.
  public var maxSteps = 0
  /// The number of passes over the training rows, rounded up.
  public var numTrainEpochs = 0
  /// Passes over the training rows so far.
  public var epoch = 0.0
  /// The number of rows per batch.
  public var trainBatchSize = 0
  /// The number of tokens in all batches so far.
  public var numInputTokensSeen = 0
  /// The number of optimizer steps between logs.
  public var loggingSteps = 0
  /// The number of optimizer steps between evaluations.
  public var evalSteps = 0
  /// The number of optimizer steps between checkpoints.
  public var saveSteps = 0
  /// The lowest validation loss so far, in nats.
  public var bestMetric: Double?
  /// The step with the lowest validation loss.
  public var bestGlobalStep: Int?
  /// The name of the checkpoint with the lowest validation loss, in the folder of the run.
  public var bestModelCheckpoint: String?
  /// Sums over the steps since the last log. A run that is resumed between two logs continues them.
  public var unlogged = UnloggedSteps()
  /// All logs in order; see `TrainingLog` and `EvaluationLog`.
  public var logHistory: [JSONObject] = []

  /// Creates the state before the first step.
  public init() {}

  /// Appends a training log to `logHistory`.
  public mutating func append(_ log: TrainingLog) { logHistory.append(log.object) }

  /// Appends an evaluation. If its loss is the lowest after any step, it becomes the best.
  public mutating func append(_ log: EvaluationLog, checkpoint: String? = nil) {
    logHistory.append(log.object)
    if log.step > 0, log.loss < bestMetric ?? .infinity {
      bestMetric = log.loss
      bestGlobalStep = log.step
      bestModelCheckpoint = checkpoint
    }
  }

  /// The contents of `trainer_state.json`, with the members that transformers reads.
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

  /// Writes the file completely or not at all.
  /// - Throws: `SwiftletError` if it cannot be written.
  public func write(to url: URL) throws(SwiftletError) {
    try AtomicFile.write(json.text(.pretty) + "\n", to: url)
  }

  /// Reads a file that Swiftlet or transformers wrote.
  /// - Throws: `SwiftletError` if it cannot be read, or a number in it is out of range.
  public init(contentsOf url: URL) throws(SwiftletError) {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: RegularFile.contents(of: url))
    } catch {
      let cause = error.reason
      throw SwiftletError.checkpoint(path: url.path, reason: "this is not a trainer state: \(cause)")
    }
    try self.init(json, path: url.path)
  }

  /// Reads the contents of the file at `path`.
  init(_ json: JSONValue, path: String) throws(SwiftletError) {
    let reader = Reader(json: json, path: path)
    guard json["global_step"]?.integer != nil, let history = json["log_history"]?.array else {
      throw SwiftletError.checkpoint(
        path: path, reason: "this is not a trainer state: global_step or log_history is missing")
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
    unlogged = try UnloggedSteps(json["stateful_callbacks"]?[UnloggedSteps.key], path: path)
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
  /// The number of steps since the last log.
  public var steps = 0
  /// The sum of their losses.
  public var loss = 0.0
  /// The number of predicted tokens.
  public var predicted = 0
  /// The number of predicted tokens whose most likely token was the right one.
  public var correct = 0
  /// What the loss reports besides, such as `rewards/margins`.
  public var metrics: [String: MetricSum] = [:]

  /// Creates sums over no steps.
  public init() {}

  /// The mean loss of the steps.
  public var meanLoss: Double { loss / Double(max(1, steps)) }
  /// The share of predicted tokens whose most likely token was the right one.
  public var accuracy: Double { Double(correct) / Double(max(1, predicted)) }

  mutating func add(_ report: StepReport) {
    steps += 1
    loss += report.loss
    predicted += report.predictedTokens
    correct += report.correctTokens
    metrics.merge(report.metrics) { $0 + $1 }
  }

  /// transformers accepts only the members it knows, but ignores unknown names in `stateful_callbacks`.
  static let key = "UnloggedSteps"

  var json: JSONValue {
    var attributes = JSONObject([
      ("steps", .integer(steps)), ("loss", .number(loss)), ("predicted", .integer(predicted)),
      ("correct", .integer(correct)),
    ])
    if !metrics.isEmpty {
      attributes["metrics"] = .object(
        JSONObject(
          metrics.sorted { $0.key < $1.key }.map { ($0.key, [.number($0.value.sum), .number($0.value.weight)]) }))
    }
    return ["args": [:], "attributes": .object(attributes)]
  }

  init(_ json: JSONValue?, path: String) throws(SwiftletError) {
    guard let values = json?["attributes"] else { return }
    let reader = TrainerState.Reader(json: values, path: path)
    steps = try reader.count("steps")
    loss = try reader.number("loss")
    predicted = try reader.count("predicted")
    correct = try reader.count("correct")
    for (name, value) in values["metrics"]?.object?.members ?? [] {
      guard let numbers = value.array?.map(\.double), numbers.count == 2, let sum = numbers[0], let weight = numbers[1]
      else {
        throw SwiftletError.checkpoint(path: path, reason: "\(name.quotedExcerpt) must be a sum and its weight")
      }
      metrics[name] = MetricSum(sum, weight: weight)
    }
  }
}

/// A log of training losses.
public struct TrainingLog: Sendable, Hashable {
  /// The number of optimizer steps taken.
  public var step: Int
  /// Passes over the training rows.
  public var epoch: Double
  /// The mean loss per token since the last log, in nats.
  public var loss: Double
  /// The global gradient norm before clipping.
  public var gradNorm: Double
  /// The learning rate of the last step.
  public var learningRate: Double
  /// The number of tokens in all batches so far.
  public var numTokens: Int
  /// The share of predicted tokens whose most likely token was the right one.
  public var meanTokenAccuracy: Double?
  /// Seconds since the first step began.
  public var elapsed: Double
  /// What the loss reports besides, such as `rewards/margins`.
  public var metrics: [String: Double]

  /// Creates a log of the losses since the last one.
  public init(
    step: Int, epoch: Double, loss: Double, gradNorm: Double, learningRate: Double, numTokens: Int,
    meanTokenAccuracy: Double? = nil, elapsed: Double, metrics: [String: Double] = [:]
  ) {
    self.step = step
    self.epoch = epoch
    self.loss = loss
    self.gradNorm = gradNorm
    self.learningRate = learningRate
    self.numTokens = numTokens
    self.meanTokenAccuracy = meanTokenAccuracy
    self.elapsed = elapsed
    self.metrics = metrics
  }

  /// The log as an entry of `log_history`.
  public var object: JSONObject {
    var object = JSONObject([
      ("elapsed_s", .number(elapsed)), ("epoch", .number(epoch)), ("grad_norm", .number(gradNorm)),
      ("learning_rate", .number(learningRate)), ("loss", .number(loss)),
    ])
    object["mean_token_accuracy"] = meanTokenAccuracy.map { .number($0) }
    object["num_tokens"] = .integer(numTokens)
    for (name, value) in metrics.sorted(by: { $0.key < $1.key }) { object[name] = .number(value) }
    object["step"] = .integer(step)
    return object
  }
}

/// A log of an evaluation.
public struct EvaluationLog: Sendable, Hashable {
  /// The number of optimizer steps taken before it.
  public var step: Int
  /// Passes over the training rows before it.
  public var epoch: Double
  /// The mean loss per token over all validation rows, in nats.
  public var loss: Double
  /// The number of predicted tokens.
  public var tokens: Int
  /// The time it took, in seconds.
  public var runtime: Double
  /// What the loss reports besides, such as `rewards/margins`.
  public var metrics: [String: Double]

  /// Creates a log of one evaluation.
  public init(
    step: Int, epoch: Double, loss: Double, tokens: Int, runtime: Double, metrics: [String: Double] = [:]
  ) {
    self.step = step
    self.epoch = epoch
    self.loss = loss
    self.tokens = tokens
    self.runtime = runtime
    self.metrics = metrics
  }

  /// The log as an entry of `log_history`.
  public var object: JSONObject {
    var object = JSONObject([
      ("epoch", .number(epoch)), ("eval_loss", .number(loss)), ("eval_num_tokens", .integer(tokens)),
      ("eval_runtime", .number(runtime)),
    ])
    for (name, value) in metrics.sorted(by: { $0.key < $1.key }) { object["eval_" + name] = .number(value) }
    object["step"] = .integer(step)
    return object
  }
}
