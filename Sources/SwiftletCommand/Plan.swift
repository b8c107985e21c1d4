import ArgumentParser
import Swiftlet
import Essentials
import Terminal

/// `swiftlet plan --config recipe.yaml`
struct Plan: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Predict the memory and time of a training run.",
    usage: "swiftlet plan recipe.yaml [--json] [--key value ...]",
    discussion:
      "Loads the model, prepares the rows and measures this machine for a second, but does not train. `swiftlet sft --help-keys` lists the keys."
  )

  @Argument(parsing: .captureForPassthrough, help: "A recipe, --json, and keys that override the recipe.")
  var words: [String] = []

  func run() async throws {
    var words = RecipeWords(words)
    try words.answerHelp(for: self)
    let json = words.take(flag: "--json")
    let recipe = try Recipe(commandLine: words.words)
    try recipe.checkComplete()
    for note in recipe.notes { Printing.note("Note: \(note)") }
    let plan = try await TrainingSession(recipe, command: [recipe.training.method.name.rawValue] + words.words)
      .prepared().plan(calibrated: true)
    if json { Printing.json(plan.json) } else { show(plan) }
  }

  private func show(_ plan: RunPlan) {
    let memory = plan.memory
    var facts = memory.parts.filter { $0.bytes > 0 }.map { ($0.name, Format.bytes($0.bytes)) }
    facts += [
      ("total", Format.bytes(memory.total)),
      ("available", "\(Format.bytes(plan.system.reachable)) of \(Format.bytes(plan.system.total))"),
    ]
    if memory.checkpointedLayers > 0 { facts.append(("checkpointed", "\(memory.checkpointedLayers) layers")) }
    show("memory", facts)
    if let time = plan.time {
      show(
        "time",
        [
          ("steps", "\(plan.steps), the largest batch has \(plan.largestBatch) tokens"),
          (
            "shared",
            plan.sharedPrefix > 0 ? "the first \(plan.sharedPrefix) tokens of all rows, once per batch" : "nothing"
          ),
          ("per step", Format.duration(time.step)), ("all steps", Format.duration(time.total)),
          ("tokens", "\(Int(Double(plan.tokens) / max(time.total, 1e-9))) per second"),
          ("products", "\(Int(time.operationsPerSecond / 1e9)) GFLOP/s"),
        ])
    }
    if !plan.alternatives.isEmpty {
      show(
        "one change",
        plan.alternatives.map { alternative in
          let time = alternative.secondsPerStep.map { ", \(Format.duration($0)) per step" } ?? ""
          return (alternative.change.recipe, Format.bytes(alternative.memory.total) + time)
        })
    }
    Printing.result("\n" + plan.verdict)
  }

  private func show(_ title: String, _ facts: [(String, String)]) {
    let output = Output.standardOutput
    var table = Table(title, "")
    for fact in facts { table.append([fact.0, fact.1]) }
    output.write("\n" + table.text(width: output.columns(), border: .plain, style: output.style))
  }
}
