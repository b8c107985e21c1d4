import ArgumentParser
import Checkpoints
import Swiftlet
import Essentials
import OrderedJSON
import Terminal

/// `swiftlet plan --config recipe.yaml`
struct Plan: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Predict the memory and time of a training run.",
    usage: "swiftlet plan recipe.yaml [--json] [--result FILE] [--ranks N] [--bandwidth 10Gbit] [--key value ...]",
    discussion: """
      Loads the model, prepares the rows and measures this machine for a second, but does not train. `swiftlet sft \
      --help-keys` lists the keys.

      --ranks N plans a run that mpirun shares among N hosts like this one, connected by a network of --bandwidth \
      (10Gbit unless given).

      --result FILE writes the plan, the warnings and the first rows to a file as JSON.
      """
  )

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws {
    var words = RecipeWords(words)
    try words.answerHelp(for: self)
    let json = words.take(flag: "--json")
    let file = try words.take(text: "--result")
    let ranks = try words.take(number: "--ranks")
    let network = try words.take(text: "--bandwidth").map { text in
      guard let network = Network(text) else {
        throw ValidationError("--bandwidth must be a speed such as 100Mbit or 10Gbit (got \"\(text.printable)\")")
      }
      return network
    }
    if network != nil, ranks == nil { throw ValidationError("--bandwidth needs --ranks") }
    let recipe = try Recipe(commandLine: words.words)
    try recipe.checkComplete()
    for note in recipe.notes { Printing.remark("Note: \(note)", indent: 0) }
    let run = try await TrainingSession(recipe, command: [recipe.training.method.name.rawValue] + words.words)
      .prepared()
    let plan = try run.plan(
      calibrated: true, ranks: ranks, network: ranks == nil ? nil : network ?? Network(bitsPerSecond: 10e9))
    let advice = run.advice(plan)
    var object = plan.json.object ?? JSONObject()
    object["advice"] = .array(advice.map { .string($0) })
    if json { return Printing.json(.object(object)) }
    if let file {
      object["verdict"] = .string(plan.verdict)
      object["warnings"] = .array((recipe.notes + run.report.warnings).map { .string($0) })
      object["rows"] = run.preview(rows: 5)
      return try AtomicFile.write(JSONValue.object(object).text() + "\n", to: URL(fileURLWithPath: file))
    }
    show(plan, samples: recipe.training.method.name == .grpo)
    for sentence in advice { Printing.result("Note: \(sentence)") }
  }

  /// - Parameter samples: whether the run also samples completions, whose time is not known before.
  private func show(_ plan: RunPlan, samples: Bool) {
    let memory = plan.memory
    var facts = memory.parts.filter { $0.bytes > 0 }.map { ($0.name, Format.bytes($0.bytes)) }
    facts += [
      ("total", Format.bytes(memory.total)),
      ("available", "\(Format.bytes(plan.system.reachable)) of \(Format.bytes(plan.system.total))"),
    ]
    if memory.checkpointedLayers > 0 { facts.append(("checkpointed", "\(memory.checkpointedLayers) layers")) }
    show("memory", facts)
    if let time = plan.time {
      let sampling = samples ? ", without sampling the completions" : ""
      var facts = [
        ("steps", "\(plan.steps), the largest batch has \(plan.largestBatch) tokens"),
        (
          "per epoch",
          "\(plan.stepsPerEpoch) \(plan.stepsPerEpoch == 1 ? "step" : "steps"), \(plan.tokensPerEpoch) tokens"
        ),
        (
          "prefix",
          plan.sharedPrefix > 0
            ? "the first \(plan.sharedPrefix) tokens of all rows, computed once per batch" : "no common prefix"
        ),
        ("per step", Format.duration(time.step) + sampling), ("all steps", Format.duration(time.total) + sampling),
        ("tokens", "\(Int(Double(plan.tokens) / max(time.total, 1e-9))) per second"),
        ("layers", "\(Int(time.operationsPerSecond / 1e9)) GFLOP/s forward and backward"),
      ]
      if let exchange = plan.exchange {
        facts += [
          ("ranks", "\(plan.ranks); each sends \(Format.bytes(exchange.bytes)) per step"),
          (
            "exchange",
            "\(Format.duration(exchange.seconds)) per step, \(Format.duration(exchange.exposed)) of it after the backward pass"
          ),
          ("efficiency", Format.percent(plan.efficiency ?? 1)),
        ]
      }
      show("time", facts)
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
