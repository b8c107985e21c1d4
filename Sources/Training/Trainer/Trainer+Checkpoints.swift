import Diagnostics
import Checkpoints
import Essentials
import Models
import OrderedJSON
import Tensors

extension Trainer {
  /// Writes what was trained: the adapter, or the whole model; and the tokenizer.
  /// - Parameter type: how the weights are stored if every weight is trained.
  /// - Throws: `SwiftletError` if a file cannot be written, or the device that holds the weights has failed.
  public func saveModel(to folder: URL, type: ElementType = .float32) throws {
    try model.transformer.backend.finish()
    if let adapter {
      try adapter.write(to: folder, base: BaseModelReference(baseName, files: model.files).name(in: folder))
    } else {
      try model.write(to: folder, type: type)
    }
    try model.writeTokenizer(to: folder)
    // Reading from a device that has failed gives zeros.
    try model.transformer.backend.check()
  }

  /// The type of saved weights according to `savedType`. The model's weights are float32 by now, so the base model's
  /// own type is read from its files.
  package var savedElementType: ElementType {
    switch configuration.savedType {
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    case .auto:
      (model.files.configurationJSON["dtype"] ?? model.files.configurationJSON["torch_dtype"])?.string.flatMap(
        ElementType.init(rawValue:)) ?? .float32
    }
  }

  /// Writes `checkpoint-N` completely or not at all, then removes checkpoints beyond `saveTotalLimit`.
  /// - Parameter resumable: whether to include the optimizer state even if `saveOnlyModel` is set.
  /// - Throws: `SwiftletError` that names the last complete checkpoint.
  func saveCheckpoint(resumable: Bool = false) throws(SwiftletError) {
    guard let output else { return }
    let name = "checkpoint-\(state.globalStep)"
    let folder = output.appendingPathComponent(name)
    if state.bestGlobalStep == state.globalStep { state.bestModelCheckpoint = name }
    do {
      try exchangeWeights(forEvaluation: true)
      let optimizerState = try optimizer.gatherState(in: output)
      guard collective.rank == 0 else { return }
      try AtomicFolder.write(folder) { temporary in
        try saveModel(to: temporary)
        if !configuration.saveOnlyModel || resumable {
          try optimizer.write(optimizerState, to: temporary.appendingPathComponent("optimizer.safetensors"))
        }
        if configuration.method.settings?.referenceSettings?.isSynced == true {
          try step.reference?.write(to: temporary)
        }
        try rollouts?.write(to: temporary, after: batchCount(after: state.globalStep))
        try state.write(to: temporary.appendingPathComponent("trainer_state.json"))
        try model.transformer.backend.check()
      }
    } catch {
      let last = Self.checkpoints(in: output).last { $0.lastPathComponent != name }
      throw SwiftletError.training(
        "\(name) could not be saved: \(error)" + (last.map { "; \($0.path) is complete, so `resume` from it" } ?? ""))
    }
    if let limit = configuration.saveTotalLimit { removeCheckpoints(beyond: limit, in: output, keeping: name) }
    for callback in allCallbacks { callback.saved(name, state) }
  }

  /// Removes the oldest checkpoints until `limit` are left, but neither the newest nor a best one that is still needed.
  private func removeCheckpoints(beyond limit: Int, in output: URL, keeping newest: String) {
    var protected: Set<String> = [newest]
    if configuration.loadBestModelAtEnd || configuration.saveStrategy == .best, let best = state.bestModelCheckpoint {
      protected.insert(URL(fileURLWithPath: best).lastPathComponent)
    }
    let folders = Self.checkpoints(in: output)
    let surplus = folders.count - max(limit, protected.count)
    for folder in folders.filter({ !protected.contains($0.lastPathComponent) }).prefix(max(0, surplus)) {
      try? FileManager.default.removeItem(at: folder)
    }
  }

  /// The complete `checkpoint-N` folders in `output`, sorted by N.
  public static func checkpoints(in output: URL) -> [URL] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: output.path)) ?? []
    let numbered = names.compactMap { name in
      name.hasPrefix("checkpoint-") ? Int(name.dropFirst("checkpoint-".count)).map { ($0, name) } : nil
    }
    return numbered.sorted { $0.0 < $1.0 }.map { output.appendingPathComponent($0.1) }
  }

  /// Continues from a checkpoint. Weights, optimizer state, learning rate, row order and log continue exactly as in a
  /// run that was never interrupted.
  /// - Throws: `SwiftletError` if the checkpoint does not belong to this run.
  ///
  /// Only rank 0 reads the checkpoint; the others receive it. With another number of ranks than the checkpoint's, sums
  /// are rounded differently from there on.
  public func resume(from folder: URL) throws {
    let saved = try savedState(in: folder)
    let file = folder.appendingPathComponent("optimizer.safetensors")
    let ranks = collective.rank == 0 ? Optimizer.ranks(ofStateIn: file) : collective.size
    guard saved.maxSteps == state.maxSteps else {
      let remedy =
        ranks == collective.size
        ? "resume with the same settings and data"
        : "that run had \(ranks) ranks with `trainBatchSize` \(saved.trainBatchSize), and this one has "
          + "\(collective.size), so set `trainBatchSize` such that a step has as many rows"
      throw SwiftletError.training(
        "\(folder.path) belongs to a run of \(saved.maxSteps) steps, but this one has \(state.maxSteps); \(remedy)")
    }
    guard saved.globalStep <= saved.maxSteps else {
      throw SwiftletError.training(
        "\(folder.path): global_step is \(saved.globalStep), but the run has \(saved.maxSteps) steps; "
          + "resume from another checkpoint")
    }
    resumedRanks = ranks
    try readWeights(from: folder)
    try optimizer.read(from: file)
    if configuration.method.settings?.referenceSettings?.isSynced == true { try step.reference?.read(from: folder) }
    try rollouts?.read(from: folder, after: batchCount(after: saved.globalStep))
    guard optimizer.step == saved.globalStep else {
      throw SwiftletError.training(
        "\(folder.path): the optimizer state is from step \(optimizer.step), but the log from step "
          + "\(saved.globalStep); resume from another checkpoint")
    }
    elapsedBefore = saved.logHistory.last { $0["elapsed_s"] != nil }?["elapsed_s"]?.double ?? 0
    let now = state
    state = saved
    (state.loggingSteps, state.evalSteps, state.saveSteps) = (now.loggingSteps, now.evalSteps, now.saveSteps)
  }

  /// The state in a checkpoint, which rank 0 reads for all.
  private func savedState(in folder: URL) throws -> TrainerState {
    let file = folder.appendingPathComponent("trainer_state.json")
    guard collective.size > 1 else { return try TrainerState(contentsOf: file) }
    let own = collective.rank == 0 ? Array(try TrainerState(contentsOf: file).json.text(.compact).utf8) : []
    return try TrainerState(JSONValue(parsing: collective.broadcast(own, from: 0)), path: file.path)
  }

  /// Reads the trained weights of a checkpoint on rank 0 and sends them to the others.
  func readWeights(from folder: URL) throws {
    if collective.rank == 0 { try readOwnWeights(from: folder) }
    try parallelism?.broadcastWeights()
  }

  private func readOwnWeights(from folder: URL) throws {
    if let adapter {
      let file = folder.appendingPathComponent("adapter_model.safetensors")
      return try adapter.restore(from: SafetensorsCheckpoint(contentsOf: file), folder: folder.path)
    }
    // Files may have other names than modules, and experts in stacks.
    let files = try ModelFiles(opening: folder)
    for parameter in parameters {
      guard let tensor = try files.tensor(named: parameter.name), tensor.count == parameter.value.count,
        tensor.type == .float32
      else {
        throw SwiftletError.training(
          "\(folder.path): the float32 tensor \(parameter.name) is missing or has another shape; resume with the same base "
            + "model and settings")
      }
      let count = tensor.count
      model.transformer.backend.copyRows(
        Columns(tensor.reshaped([1, count])), 0, to: Columns(parameter.value.reshaped([1, count])), 0, count: 1)
    }
  }
}
