import Diagnostics
import OrderedJSON
import Training

/// Reads the keys of a recipe into a draft, then checks that they fit together.
struct RecipeReader {
  private(set) var draft: RecipeDraft
  private(set) var origins: [String: FileLocation] = [:]
  private(set) var notes: [String] = []
  /// How the user spelled each key.
  private var spellings: [String: String] = [:]
  /// The keys set from the current source. Setting one twice is an error.
  private var setHere: Set<String> = []

  private var method: TrainingMethod.Name { draft.method }

  /// Reads the keys of a recipe for a method.
  init(_ method: TrainingMethod.Name) { draft = RecipeDraft(method) }

  /// The method of a recipe: that of the command, or the one that the recipe names.
  /// - Throws: `SwiftletError` if they differ, or there is no such method.
  static func method(
    _ method: TrainingMethod.Name?, _ entries: RecipeValue.Entries, _ overrides: RecipeValue.Entries, file: String
  ) throws(SwiftletError) -> TrainingMethod.Name {
    let places =
      [overrides.last { $0.key == "method" }.map { (FileLocation.commandLine, $0.value) }]
      + [entries.last { $0.key == "method" }.map { (FileLocation.file(file, line: $0.line), $0.value) }]
    guard let (place, value) = places.compactMap(\.self).first else { return method ?? .sft }
    let named: TrainingMethod.Name
    do {
      named = try TrainingMethod.Name(value)
    } catch {
      throw SwiftletError.recipe(place, "method\(error.path) \(error.reason)")
    }
    guard method == nil || method == named else {
      throw SwiftletError.recipe(place, "the recipe is for another method; use swiftlet \(named.rawValue)")
    }
    return named
  }

  /// Starts another source, whose keys override what was set before.
  mutating func beginOverrides() { setHere = [] }

  /// Sets a key, which may be in a former or foreign spelling.
  mutating func set(_ spelled: String, _ value: RecipeValue, from origin: FileLocation) throws(SwiftletError) {
    let written = spelled.replacing("-", with: "_")
    let key = try key(written, from: origin)
    if !setHere.insert(key.name).inserted {
      let first = spellings[key.name] ?? key.name
      throw SwiftletError.recipe(
        origin,
        first == spelled ? "\(spelled) appears twice" : "\(spelled) means the same as \(first); keep one of them")
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
    if let key = RecipeKey.named(name, for: method) { return key }
    let spelling = RecipeSpelling.byName[name]
    if let spelling, spelling.kind != .foreign, let key = RecipeKey.named(spelling.key, for: method) { return key }
    let others = RecipeKey.methods(with: name).map(\.rawValue)
    if !others.isEmpty {
      throw SwiftletError.recipe(
        origin,
        "\(name) is a key of \(others.joined(separator: ", ")), but this recipe is for \(method.rawValue); leave it out"
      )
    }
    let near =
      spelling?.key ?? EditDistance.nearest(to: name, among: RecipeKey.all(for: method).lazy.map(\.name))
    let hint = near.map { "did you mean \($0)?" } ?? "Documentation/RecipeKeys.md lists the keys"
    throw SwiftletError.recipe(origin, "unknown key \(name); \(hint)")
  }

  /// Checks that no keys contradict each other.
  mutating func check() throws(SwiftletError) {
    try checkAdapter()
    try checkData()
    try checkEarlyStopping()
    try checkMethod()
    if let problem = draft.training.schedulerOptions.problem(
      for: draft.training.scheduler, peak: draft.training.learningRate)
    {
      throw error("lr_scheduler_kwargs", or: "lr_scheduler_type", "lr_scheduler_kwargs \(problem)")
    }
    if draft.training.labelSmoothing > 0, draft.training.lossType == .dft {
      throw error(
        "label_smoothing_factor",
        "label_smoothing_factor cannot be combined with loss_type: dft; leave out one of them")
    }
    if draft.training.warmupSteps > 0, draft.training.warmupRatio > 0 {
      notes.append("\(origin("warmup_ratio")): warmup_ratio has no effect: warmup_steps is set.")
    }
  }

  private mutating func checkAdapter() throws(SwiftletError) {
    let given = RecipeKey.all(for: method).first {
      $0.section == .lora && $0.status == .honored && $0.name != "use_peft" && origins[$0.name] != nil
    }
    if !draft.usesPEFT, let given {
      let spelled = spellings[given.name] ?? given.name
      guard origins["use_peft"] != nil else {
        throw error(given.name, "\(spelled) needs use_peft: true; without it, every weight is trained")
      }
      notes.append("\(origin(given.name)): \(spelled) has no effect: use_peft is false.")
    }
    if draft.usesPEFT, draft.lora.usesDoRA, draft.lora.dropout > 0 {
      throw error("use_dora", "use_dora needs lora_dropout: 0")
    }
    if draft.usesPEFT, !draft.lora.targetParameters.isEmpty, draft.lora.dropout > 0 {
      throw error("lora_target_parameters", "lora_target_parameters needs lora_dropout: 0")
    }
    if let layers = draft.lora.layersToTransform {
      if layers.isEmpty || layers.contains(where: { $0 < 0 }) {
        throw error("layers_to_transform", "layers_to_transform must contain layer numbers of at least 0")
      }
      if case .pattern? = draft.targetModules {
        throw error("layers_to_transform", "layers_to_transform needs names in lora_target_modules, not an expression")
      }
      if draft.targetModules == .allLinear {
        throw error("layers_to_transform", "layers_to_transform needs names in lora_target_modules, not all-linear")
      }
    }
    if draft.loadsIn4Bit, !draft.usesPEFT {
      throw error("load_in_4bit", "load_in_4bit needs use_peft: true, because 4-bit weights cannot be trained")
    }
  }

  private func checkData() throws(SwiftletError) {
    let training = draft.training
    if draft.packs, training.preparation.maxLength == nil {
      throw error("packing", or: "max_length", "packing needs a max_length, the length of a packed sequence")
    }
    if draft.data.query != nil, draft.data.datasetName != nil {
      throw error("query", "query cannot be combined with dataset_name; keep one of them, or list both in datasets")
    }
    let shares = draft.data.sources.map(\.fraction)
    if shares.contains(nil), shares.contains(where: { $0 != nil }) {
      throw error("datasets", "only some sources in datasets have a fraction; give one to all of them or to none")
    }
    if !shares.isEmpty, shares.allSatisfy({ $0 == 0 }) {
      throw error("datasets", "datasets must have a fraction above 0")
    }
    if draft.sgdArguments != nil, training.optimizer.kind != .sgd {
      throw error(
        "optim_args", or: "optim",
        "optim_args belongs to sgd, but optim is \(training.optimizer.kind.rawValue); "
          + "use the adam_ keys, or leave it out"
      )
    }
    if training.loadBestModelAtEnd, training.evalStrategy == .no {
      throw error("load_best_model_at_end", "load_best_model_at_end needs an eval_strategy of steps or epoch")
    }
    if training.saveStrategy == .best, training.evalStrategy == .no {
      throw error("save_strategy", "save_strategy best needs an eval_strategy of steps or epoch")
    }
  }

  private func checkMethod() throws(SwiftletError) {
    let plain = DistillationConfiguration(teacher: "")
    if draft.teacher == nil, draft.distillation != plain {
      let keys = ["teacher_model_revision", "temperature", "beta"]
      throw error(
        keys.first { origins[$0] != nil } ?? "beta",
        "beta, temperature and teacher_model_revision concern a teacher; set teacher_model_name_or_path")
    }
    var resolved = draft
    resolved.resolve()
    if resolved.training.method.scoresSequences {
      if case .inline(let questions) = draft.data.questions, questions.isEmpty {
      } else {
        throw error("questions", "\(method.rawValue) trains no answers; leave out questions")
      }
      if method == .reward, origins["truncation_mode"] != nil {
        throw error("truncation_mode", "reward drops rows that are longer than max_length; leave out truncation_mode")
      }
    }
    if let problem = resolved.training.methodProblem(trainsAdapter: draft.usesPEFT) {
      let first = RecipeKey.methodKeys(method).first { origins[$0.name] != nil }
      throw error(first?.name ?? "method", RecipeTerms.translate(problem))
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
  /// Splits a command line into the file after `--config` and pairs of key and value.
  static func split(_ words: [String]) throws(SwiftletError) -> (file: String?, entries: RecipeValue.Entries) {
    var file: String?
    var entries: RecipeValue.Entries = []
    var index = 0
    while index < words.count {
      let word = words[index]
      index += 1
      guard word.hasPrefix("--"), word.count > 2 else {
        // `sft recipe.yaml`
        if index == 1, word.hasSuffix(".yaml") || word.hasSuffix(".yml") {
          file = word
          continue
        }
        throw SwiftletError.recipe(
          .commandLine,
          "unexpected argument \(word.quotedExcerpt); write keys with two dashes, as in --learning_rate 2e-4")
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
    let isKnown = !RecipeKey.methods(with: name).isEmpty || RecipeSpelling.byName[name] != nil
    if name.hasPrefix("no_"), !isKnown {
      return (String(name.dropFirst(3)), 0, .scalar("false", isQuoted: false))
    }
    return (name, 0, .scalar("true", isQuoted: false))
  }
}
