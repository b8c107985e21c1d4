import Diagnostics
import OrderedJSON
import Training

/// Takes a recipe's keys one by one into a draft, and checks the whole.
struct RecipeReader {
  private(set) var draft = RecipeDraft()
  private(set) var origins: [String: FileLocation] = [:]
  private(set) var notes: [String] = []
  /// How each key was spelled, for messages.
  private var spellings: [String: String] = [:]
  /// Keys set from the source being read, where a second spelling of the same is a mistake.
  private var setHere: Set<String> = []

  /// Every honoured key with its value.
  var arguments: JSONObject {
    JSONObject(RecipeKey.all.compactMap { key in key.value.map { (key.name, $0(draft)) } })
  }

  /// From here on, keys may replace what was set before.
  mutating func beginOverrides() { setHere = [] }

  /// Takes one key.
  mutating func set(_ spelled: String, _ value: RecipeValue, from origin: FileLocation) throws(SwiftletError) {
    let written = spelled.replacing("-", with: "_")
    let key = try key(written, from: origin)
    if !setHere.insert(key.name).inserted {
      let first = spellings[key.name] ?? key.name
      throw SwiftletError.recipe(
        origin,
        first == spelled ? "\(spelled) stands there twice" : "\(spelled) means the same as \(first); keep one of them")
    }
    do {
      try key.apply(value, &draft)
    } catch {
      throw SwiftletError.recipe(origin, "\(spelled)\(error.path) \(error.reason)")
    }
    origins[key.name] = origin
    spellings[key.name] = spelled
    if key.status == .withoutEffect { notes.append("\(origin): \(spelled) has no effect: \(key.meaning).") }
    if let spelling = RecipeSpelling.byName[written], spelling.kind == .former {
      notes.append("\(origin): \(spelled) is now called \(key.name).")
    }
  }

  private func key(_ name: String, from origin: FileLocation) throws(SwiftletError) -> RecipeKey {
    if let key = RecipeKey.byName[name] { return key }
    let spelling = RecipeSpelling.byName[name]
    if let spelling, spelling.kind != .foreign, let key = RecipeKey.byName[spelling.key] { return key }
    let near = spelling?.key ?? EditDistance.nearest(to: name, among: RecipeKey.all.lazy.map(\.name))
    let hint = near.map { "did you mean \($0)?" } ?? "Documentation/RecipeKeys.md lists the keys"
    throw SwiftletError.recipe(origin, "\(name) is not a key of a recipe; \(hint)")
  }

  /// Refuses keys that contradict one another.
  mutating func check() throws(SwiftletError) {
    try checkAdapter()
    try checkData()
    try checkEarlyStopping()
    if let problem = draft.training.schedulerOptions.problem(
      for: draft.training.scheduler, peak: draft.training.learningRate)
    {
      throw error("lr_scheduler_kwargs", or: "lr_scheduler_type", "lr_scheduler_kwargs \(problem)")
    }
    if draft.training.labelSmoothing > 0, draft.training.lossType == .dft {
      throw error("label_smoothing_factor", "label_smoothing_factor does not go with loss_type: dft; leave out one")
    }
    if draft.training.warmupSteps > 0, draft.training.warmupRatio > 0 {
      notes.append("\(origin("warmup_ratio")): warmup_ratio has no effect: warmup_steps is set.")
    }
  }

  private mutating func checkAdapter() throws(SwiftletError) {
    let given = RecipeKey.all.first {
      $0.section == .lora && $0.status == .honoured && $0.name != "use_peft" && origins[$0.name] != nil
    }
    if !draft.usesPEFT, let given {
      let spelled = spellings[given.name] ?? given.name
      guard origins["use_peft"] != nil else {
        throw error(given.name, "\(spelled) needs use_peft: true; without it every weight is trained")
      }
      notes.append("\(origin(given.name)): \(spelled) has no effect: use_peft is false.")
    }
    if draft.model.loadIn4Bit, !draft.usesPEFT {
      throw error("load_in_4bit", "load_in_4bit needs use_peft: true, since 4-bit weights cannot be trained themselves")
    }
  }

  private func checkData() throws(SwiftletError) {
    let training = draft.training
    if training.packing, training.maxLength == nil {
      throw error("packing", or: "max_length", "packing needs a max_length, the length of a pack")
    }
    if draft.data.query != nil, draft.data.datasetName != nil {
      throw error("query", "query stands beside dataset_name; keep one of them, or list both in datasets")
    }
    let shares = draft.data.sources.map(\.fraction)
    if shares.contains(nil), shares.contains(where: { $0 != nil }) {
      throw error("datasets", "datasets has a fraction in some sources only; give one to all or to none")
    }
    if !shares.isEmpty, shares.allSatisfy({ $0 == 0 }) {
      throw error("datasets", "datasets has no fraction above zero")
    }
    if training.loadBestModelAtEnd, training.evalStrategy == .no {
      throw error("load_best_model_at_end", "load_best_model_at_end needs an eval_strategy of steps or epoch")
    }
    if training.saveStrategy == .best, training.evalStrategy == .no {
      throw error("save_strategy", "save_strategy best needs an eval_strategy of steps or epoch")
    }
  }

  private func checkEarlyStopping() throws(SwiftletError) {
    if draft.training.earlyStoppingPatience != nil, !draft.training.loadBestModelAtEnd {
      throw error("early_stopping_patience", "early_stopping_patience needs load_best_model_at_end: true")
    }
    if draft.training.earlyStoppingPatience == nil, draft.training.earlyStoppingThreshold > 0 {
      throw error("early_stopping_threshold", "early_stopping_threshold needs an early_stopping_patience")
    }
  }

  private func origin(_ key: String) -> FileLocation { origins[key] ?? .defaultValue }

  private func error(_ key: String, or other: String? = nil, _ reason: String) -> SwiftletError {
    let place = origins[key] ?? other.flatMap { origins[$0] } ?? .defaultValue
    return SwiftletError.recipe(place, reason)
  }
}

extension RecipeReader {
  /// Splits a command line into the file behind `--config` and pairs of key and value.
  static func split(_ words: [String]) throws(SwiftletError) -> (file: String?, entries: RecipeValue.Entries) {
    var file: String?
    var entries: RecipeValue.Entries = []
    var index = 0
    while index < words.count {
      let word = words[index]
      index += 1
      guard word.hasPrefix("--"), word.count > 2 else {
        throw SwiftletError.recipe(.commandLine, "\(word) stands there without a --key before it")
      }
      var name = String(word.dropFirst(2))
      var values: [String] = []
      if let equals = name.firstIndex(of: "=") {
        values = [String(name[name.index(after: equals)...])]
        name = String(name[..<equals])
      } else {
        while index < words.count, !words[index].hasPrefix("--") {
          values.append(words[index])
          index += 1
        }
      }
      if name == "config" {
        guard values.count == 1, file == nil else {
          throw SwiftletError.recipe(.commandLine, "--config needs exactly one file")
        }
        file = values[0]
        continue
      }
      entries.append(entry(name.replacing("-", with: "_"), values))
    }
    return (file, entries)
  }

  private static func entry(_ name: String, _ values: [String]) -> RecipeValue.Entries.Element {
    if values.count > 1 { return (name, 0, .list(values.map(RecipeValue.init(argument:)))) }
    if let value = values.first { return (name, 0, RecipeValue(argument: value)) }
    let isKnown = RecipeKey.byName[name] != nil || RecipeSpelling.byName[name] != nil
    if name.hasPrefix("no_"), !isKnown {
      return (String(name.dropFirst(3)), 0, .scalar("false", isQuoted: false))
    }
    return (name, 0, .scalar("true", isQuoted: false))
  }
}
