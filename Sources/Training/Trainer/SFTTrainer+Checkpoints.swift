import Diagnostics
import Checkpoints
import Foundation
import Models
import Tensors

extension SFTTrainer {
  /// Writes what was trained: the adapter, or the whole model; and the tokenizer.
  public func saveModel(to folder: URL) throws {
    if let adapter {
      try adapter.write(to: folder, base: baseName)
    } else {
      try model.write(to: folder, type: .float32)
    }
    try model.writeTokenizer(to: folder)
  }

  /// Writes `checkpoint-N` beside its predecessors, whole or not at all.
  /// - Parameter resumable: with all that resuming needs, whatever `saveOnlyModel` says.
  /// - Throws: `SwiftletError` that names the last whole checkpoint.
  func saveCheckpoint(resumable: Bool = false) throws(SwiftletError) {
    guard let output else { return }
    let name = "checkpoint-\(state.globalStep)"
    let folder = output.appendingPathComponent(name)
    if state.bestGlobalStep == state.globalStep { state.bestModelCheckpoint = folder.path }
    do {
      try AtomicFolder.write(folder) { temporary in
        try saveModel(to: temporary)
        if !arguments.saveOnlyModel || resumable {
          try optimizer.write(to: temporary.appendingPathComponent("optimizer.safetensors"))
        }
        try state.write(to: temporary.appendingPathComponent("trainer_state.json"))
      }
    } catch {
      let last = Self.checkpoints(in: output).last { $0.lastPathComponent != name }
      throw SwiftletError.training(
        "\(name) could not be saved: \(error)"
          + (last.map { "; \($0.path) is whole, `resume` goes on from it" } ?? ""))
    }
    if let limit = arguments.saveTotalLimit { removeCheckpoints(beyond: limit, in: output, keeping: name) }
    for callback in allCallbacks { callback.saved(name, state) }
  }

  /// Removes the oldest checkpoints until `limit` are left; the one just written stays, and the best where it matters.
  private func removeCheckpoints(beyond limit: Int, in output: URL, keeping newest: String) {
    var protected: Set<String> = [newest]
    if arguments.loadBestModelAtEnd || arguments.saveStrategy == .best, let best = state.bestModelCheckpoint {
      protected.insert(URL(fileURLWithPath: best).lastPathComponent)
    }
    let folders = Self.checkpoints(in: output)
    let surplus = folders.count - max(limit, protected.count)
    for folder in folders.filter({ !protected.contains($0.lastPathComponent) }).prefix(max(0, surplus)) {
      try? FileManager.default.removeItem(at: folder)
    }
  }

  /// The complete `checkpoint-N` folders in `output`, by rising N.
  public static func checkpoints(in output: URL) -> [URL] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: output.path)) ?? []
    let numbered = names.compactMap { name in
      name.hasPrefix("checkpoint-") ? Int(name.dropFirst("checkpoint-".count)).map { ($0, name) } : nil
    }
    return numbered.sorted { $0.0 < $1.0 }.map { output.appendingPathComponent($0.1) }
  }

  /// Takes a run up where a checkpoint left it: weights, moments, schedule, data order and log go on as if nothing had
  /// happened.
  /// - Throws: `SwiftletError` or `SwiftletError` if the checkpoint does not belong to this run.
  public func resume(from folder: URL) throws {
    let saved = try TrainerState(contentsOf: folder.appendingPathComponent("trainer_state.json"))
    guard saved.maxSteps == state.maxSteps else {
      throw SwiftletError.training(
        "\(folder.path) is of a run of \(saved.maxSteps) steps, this one has \(state.maxSteps); resume with the same "
          + "settings and data")
    }
    try readWeights(from: folder)
    try optimizer.read(from: folder.appendingPathComponent("optimizer.safetensors"))
    guard optimizer.step == saved.globalStep else {
      throw SwiftletError.training(
        "\(folder.path): the optimizer is at step \(optimizer.step), the log at \(saved.globalStep)")
    }
    elapsedBefore = saved.logHistory.last { $0["elapsed_s"] != nil }?["elapsed_s"]?.double ?? 0
    let now = state
    state = saved
    (state.loggingSteps, state.evalSteps, state.saveSteps) = (now.loggingSteps, now.evalSteps, now.saveSteps)
  }

  /// Takes the trained weights from a checkpoint.
  func readWeights(from folder: URL) throws {
    let file = adapter == nil ? folder : folder.appendingPathComponent("adapter_model.safetensors")
    let weights = try SafetensorsCheckpoint(contentsOf: file)
    for parameter in parameters {
      let name = adapter == nil ? parameter.name : Adapter.fileName(of: parameter)
      guard let tensor = weights.tensor(named: name), tensor.count == parameter.value.count, tensor.type == .float32
      else { throw SwiftletError.training("\(folder.path) has no float32 tensor \(name) that fits this run") }
      let count = tensor.count
      model.transformer.backend.copyRows(
        Columns(tensor.reshaped([1, count])), 0, to: Columns(parameter.value.reshaped([1, count])), 0, count: 1)
    }
  }
}
