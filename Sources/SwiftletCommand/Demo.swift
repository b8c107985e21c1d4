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
    abstract: "Teach a small model to speak like Yoda in a few minutes, and compare its answers.")

  @Option(name: [.short, .long], help: "The base model. (default: the recipe's)")
  var model: String?

  @Option(help: ArgumentHelp("The recipe. (default: the one that comes with Swiftlet)", valueName: "recipe"))
  var config: String?

  @Option(name: [.short, .long], help: ArgumentHelp("The output folder. (default: the recipe's)", valueName: "folder"))
  var output: String?

  @Flag(help: "Overwrite the result of another recipe.")
  var overwrite = false

  /// The demo's folder: `share/swiftlet/demo` next to the program's `bin` folder, or `Examples/demo` of the
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
        "the demo's data is missing: neither \(recipes[0]) nor share/swiftlet/demo exists; name a recipe with --config"
      )
    }
    return recipe
  }

  func run() async throws {
    let config = try self.config ?? Self.installedRecipe()
    var words = ["--config", config]
    // Don't confuse the recipe's files with files of the same names in the working directory.
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
    let validation = try Prompt.read(recipe.locate(path))
    let outcome = try await TrainingSession(recipe, command: ["sft"] + words, overwrites: overwrite).run(
      questions: Array(validation.prefix(5)))
    let answers = try Answers.ask(
      validation, outcome.run.model, maxNewTokens: recipe.data.maxNewTokens, label: "asking all validation sentences")
    let lines = zip(validation, answers).map { question, answer -> String in
      let line: JSONValue = ["sentence": .string(question.text), "answer": .string(answer)]
      return line.text()
    }
    let file = outcome.run.output.appendingPathComponent("heldout_answers.jsonl")
    try AtomicFile.write(lines.joined(separator: "\n") + "\n", to: file)
    Printing.note(
      "\nThe answers to all \(validation.count) validation sentences are in \(recipe.training.outputDir)/"
        + "heldout_answers.jsonl.")
  }
}
