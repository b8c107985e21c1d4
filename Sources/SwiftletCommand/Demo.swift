import Diagnostics
import ArgumentParser
import Checkpoints
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Terminal

/// `swiftlet demo`
struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Teach a small model to speak like Yoda, in a few minutes: a real run, before and after.")

  @Option(name: [.short, .long], help: "The base model; by default what the recipe names.")
  var model: String?

  @Option(help: "The recipe; by default the one that comes with swiftlet.")
  var config: String?

  @Option(name: [.short, .long], help: "The output folder; by default what the recipe names.")
  var output: String?

  /// The demo's folder: `share/swiftlet/demo` beside the `bin` folder that the program is in, or `Examples/demo` of the
  /// checkout that it was built in.
  private static func installedRecipe() throws -> String {
    var candidates = ["Examples/demo"]
    if let program = ProgramFile.path {
      var folder = URL(fileURLWithPath: program).resolvingSymlinksInPath().deletingLastPathComponent()
      candidates.append(folder.deletingLastPathComponent().appendingPathComponent("share/swiftlet/demo").path)
      for _ in 0..<4 {
        folder = folder.deletingLastPathComponent()
        candidates.append(folder.appendingPathComponent("Examples/demo").path)
      }
    }
    let recipes = candidates.map { $0 + "/recipe.yaml" }
    guard let recipe = recipes.first(where: FileManager.default.fileExists(atPath:)) else {
      throw SwiftletError.model(
        "the demo's data is missing: neither \(recipes[0]) nor share/swiftlet/demo is there; give --config a recipe")
    }
    return recipe
  }

  func run() async throws {
    let config = try self.config ?? Self.installedRecipe()
    var words = ["--config", config]
    // The recipe names files beside it. Files of the same names in the current folder are not meant.
    let folder = URL(fileURLWithPath: config).deletingLastPathComponent()
    for (key, name) in [("--dataset_name", "train.jsonl"), ("--eval_dataset", "heldout.jsonl")]
    where self.config == nil && FileManager.default.fileExists(atPath: name) {
      words += [key, folder.appendingPathComponent(name).path]
    }
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
    let program = Shell.quoted(CommandLine.arguments.first ?? "swiftlet")
    Printing.note("  \(program) chat --model \(base) --adapter \(recipe.training.outputDir)")
  }
}
