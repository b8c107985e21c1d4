import Datasets
import OrderedJSON
import Reports
import Tensors
import Training

// How a recipe spells the settings of training.

extension LearningRateSchedule.Kind: RecipeWord {}
extension LearningRateSchedule.Shape: RecipeWord {}
extension OptimizerConfiguration.Kind: RecipeWord {}
extension SamplingStrategy: RecipeWord {}
extension TrainingMethod.Name: RecipeWord {}
extension DPOConfiguration.LossType: RecipeWord {}
extension DPOConfiguration.Divergence: RecipeWord {}
extension CPOConfiguration.LossType: RecipeWord {}
extension KTOConfiguration.LossType: RecipeWord {}
extension GRPOConfiguration.LossType: RecipeWord {}
extension GRPOConfiguration.ImportanceSamplingLevel: RecipeWord {}
extension TrainingConfiguration.LossType: RecipeWord {}
extension TrainingConfiguration.IntervalStrategy: RecipeWord {}
extension TrainingConfiguration.SaveStrategy: RecipeWord {}
extension TrainingConfiguration.WeightType: RecipeWord {}
extension PackingStrategy: RecipeWord {}
extension PreparationOptions.Truncation: RecipeWord {}

extension DeviceSelection: RecipeConvertible {
  static var expectation: String { "auto, cpu, gpu or gpu:N" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, _) = value, let device = DeviceSelection(text) else {
      throw .mismatch(value, expected: Self.expectation)
    }
    self = device
  }

  var json: JSONValue { .string(text) }
}

extension TrainingConfiguration.Checkpointing: RecipeConvertible {
  static var expectation: String { "true, false, auto or unsloth" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if let isAsked = try? Bool(value) {
      self = isAsked ? .always : .never
    } else if case .scalar(let text, _) = value, let word = Self(rawValue: text.lowercased()) {
      self = word
    } else {
      throw .mismatch(value, expected: Self.expectation)
    }
  }

  var json: JSONValue {
    switch self {
    case .always: true
    case .never: false
    case .auto, .unsloth: .string(rawValue)
    }
  }
}

extension TrainingConfiguration.Resume: RecipeConvertible {
  static var expectation: String { "a checkpoint folder, true or false" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, let isQuoted) = value else { throw .mismatch(value, expected: Self.expectation) }
    switch text.lowercased() {
    case "true" where !isQuoted: self = .latest
    case "false" where !isQuoted: self = .fromStart
    case _ where value.isNull: self = .fromStart
    default: self = .checkpoint(text)
    }
  }

  var json: JSONValue {
    switch self {
    case .fromStart: false
    case .latest: true
    case .checkpoint(let path): .string(path)
    }
  }
}

extension LearningRateSchedule.Options: RecipeConvertible {
  static var expectation: String { "a mapping of options" }

  private static let keys = [
    "num_cycles", "power", "lr_end", "min_lr", "min_lr_rate", "warmup_lr_rate", "timescale", "num_decay_steps",
    "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio",
  ]

  init(_ value: RecipeValue) throws(RecipeValueError) {
    self.init()
    if value.isNull { return }
    let members = try RecipeMembers(value, allowed: Self.keys, expected: Self.expectation)
    numCycles = try members.optional("num_cycles")
    power = try members.optional("power")
    lrEnd = try members.optional("lr_end")
    minLR = try members.optional("min_lr")
    minLRRate = try members.optional("min_lr_rate")
    warmupLRRate = try members.optional("warmup_lr_rate")
    timescale = try members.optional("timescale")
    numDecaySteps = try members.optional("num_decay_steps")
    numStableSteps = try members.optional("num_stable_steps")
    warmupType = try members.optional("warmup_type")
    decayType = try members.optional("decay_type")
    minLRRatio = try members.optional("min_lr_ratio")
    for case let steps? in [timescale, numDecaySteps, numStableSteps] where !(0...Self.mostSteps).contains(steps) {
      throw RecipeValueError(reason: "must contain from 0 to \(Self.mostSteps) steps (got \(steps))")
    }
  }

  /// Far beyond any run, and far from overflow when added up.
  private static let mostSteps = 1_000_000_000_000

  var json: JSONValue {
    let values: [JSONValue?] = [
      numCycles?.json, power?.json, lrEnd?.json, minLR?.json, minLRRate?.json, warmupLRRate?.json, timescale?.json,
      numDecaySteps?.json, numStableSteps?.json, warmupType?.json, decayType?.json, minLRRatio?.json,
    ]
    var object = JSONObject()
    for (key, value) in zip(Self.keys, values) { object[key] = value }
    return .object(object)
  }
}

extension SGDArguments: RecipeConvertible {
  static var expectation: String { "options of sgd, such as momentum=0.9, nesterov=true" }
  private static let keys = ["momentum", "dampening", "nesterov"]

  /// transformers takes one text of `key=value`s; a mapping works as well.
  init(_ value: RecipeValue) throws(RecipeValueError) {
    let members = try RecipeMembers(try Self.mapping(value), allowed: Self.keys, expected: Self.expectation)
    self.init()
    momentum = try members.optional("momentum") ?? 0
    dampening = try members.optional("dampening") ?? 0
    nesterov = try members.optional("nesterov") ?? false
    for number in [momentum, dampening] where !(0..<1).contains(number) {
      throw RecipeValueError(reason: "must contain numbers from 0 to below 1 (got \(number))")
    }
    if nesterov, momentum == 0 || dampening != 0 {
      throw RecipeValueError(reason: "must not set nesterov without a momentum, or with dampening")
    }
  }

  private static func mapping(_ value: RecipeValue) throws(RecipeValueError) -> RecipeValue {
    guard case .scalar(let text, _) = value else { return value }
    var members: [(key: String, value: RecipeValue)] = []
    for part in text.filter({ $0 != " " }).split(separator: ",") {
      let sides = part.split(separator: "=", omittingEmptySubsequences: false)
      guard sides.count == 2 else { throw .mismatch(value, expected: Self.expectation) }
      members.append((String(sides[0]), .scalar(String(sides[1]), isQuoted: false)))
    }
    return .mapping(members)
  }

  var json: JSONValue {
    var object = JSONObject()
    object["momentum"] = momentum.json
    object["dampening"] = dampening.json
    object["nesterov"] = nesterov.json
    return .object(object)
  }
}

extension GRPOConfiguration.RewardScaling: RecipeConvertible {
  static var expectation: String { "group, batch, none, true or false" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    if let isScaled = try? Bool(value) {
      self = isScaled ? .group : .none
    } else if case .scalar(let text, _) = value, let word = Self(rawValue: text.lowercased()) {
      self = word
    } else {
      throw .mismatch(value, expected: Self.expectation)
    }
  }

  var json: JSONValue { .string(rawValue) }
}

/// `report_to` as recipes spell it: one destination, a list, `all` or `none`.
struct RecipeReports: RecipeConvertible {
  static var expectation: String { "tensorboard, jsonl, a list of them, all or none" }
  var destinations: [ReportDestination]

  init(_ destinations: [ReportDestination]) { self.destinations = destinations }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    destinations = []
    let words = try [String](value).map { $0.lowercased() }
    for word in words {
      if let destination = ReportDestination(rawValue: word) {
        if !destinations.contains(destination) { destinations.append(destination) }
      } else if word == "all", words.count == 1 {
        destinations = ReportDestination.allCases
      } else if !["none", "no", "false", ""].contains(word) || words.count > 1 {
        let services = [
          "wandb", "mlflow", "comet_ml", "clearml", "neptune", "swanlab", "trackio", "dagshub", "codecarbon",
        ]
        var hint =
          services.contains(word)
          ? "use tensorboard or jsonl instead" : "trainer_state.json has all logs in any case"
        if word == "trackio" { hint += ", and read the files with trackio.import_tf_events" }
        throw RecipeValueError(reason: "must be \(Self.expectation) (got \"\(word)\"); \(hint)")
      }
    }
  }

  var json: JSONValue {
    switch destinations.count {
    case 0: "none"
    case 1: .string(destinations[0].rawValue)
    default: .array(destinations.map { .string($0.rawValue) })
    }
  }
}

extension ReportConfiguration {
  /// `report_to` as the recipe spells it.
  var recipeReports: RecipeReports {
    get { RecipeReports(destinations) }
    set { destinations = newValue.destinations }
  }
}
