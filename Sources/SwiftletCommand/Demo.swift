import Diagnostics
import ArgumentParser
import Checkpoints
import Swiftlet
import Foundation
import Models
import OrderedJSON
import Terminal

/// `swiftlet demo`
struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Teach a small model to speak like Yoda, in a few minutes: a real run, before and after.")

  @Option(name: [.short, .long], help: "The base model; by default what the recipe names.")
  var model: String?

  @Option(help: "The recipe.")
  var config = "Examples/demo/recipe.yaml"

  @Option(name: [.short, .long], help: "The output folder; by default what the recipe names.")
  var output: String?

  func run() async throws {
    var words = ["--config", config]
    if let model { words += ["--model_name_or_path", model] }
    if let output { words += ["--output_dir", output] }
    let recipe = try Recipe(commandLine: words)
    try recipe.checkComplete()
    guard let path = recipe.data.evalDataset?.path else {
      throw SwiftletError.model("\(config): the demo needs an eval_dataset to ask the model about")
    }
    let heldOut = try Prompt.read(recipe.locate(path))
    let outcome = try await TrainingSession(recipe, command: ["sft"] + words).run(questions: Array(heldOut.prefix(5)))
    let answers = try Answers.ask(
      heldOut, outcome.run.model, maxNewTokens: recipe.data.maxNewTokens, label: "asking all held-out sentences")
    let lines = zip(heldOut, answers).map { question, answer -> String in
      let line: JSONValue = ["sentence": .string(question.text), "answer": .string(answer)]
      return line.text()
    }
    let file = outcome.run.output.appendingPathComponent("heldout_answers.jsonl")
    try AtomicFile.write(lines.joined(separator: "\n") + "\n", to: file)
    Printing.facts([
      ("answers", "\(recipe.training.outputDir)/heldout_answers.jsonl, all \(heldOut.count) held-out sentences")
    ])
    let base = recipe.model.name
    Printing.heading("Now try")
    Printing.note("  .build/release/swiftlet chat --model \(base) --adapter \(recipe.training.outputDir)")
  }
}
