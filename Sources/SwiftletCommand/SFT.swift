import ArgumentParser
import Swiftlet
import Essentials
import Models
import Terminal

/// `swiftlet sft --config recipe.yaml [--key value ...]`
struct SFT: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sft",
    abstract: "Train a model on a data set, by a recipe.",
    usage: "swiftlet sft --config recipe.yaml [--key value ...]",
    discussion: """
      The recipe is YAML with the keys of TRL's `trl sft`; any of them can follow on the command line, as
      --learning_rate 2e-4 or --learning-rate 2e-4. Documentation/RecipeKeys.md lists them all.
      """,
    aliases: ["train"])

  @Argument(parsing: .captureForPassthrough, help: "--config recipe.yaml, and keys that override it.")
  var words: [String] = []

  func run() async throws {
    if words.contains("--help") || words.contains("-h") { throw CleanExit.helpRequest(self) }
    let recipe = try Recipe(commandLine: words)
    try recipe.checkComplete()
    for note in recipe.notes { Printing.note("Note: \(note)") }
    _ = try await TrainingSession(recipe, command: ["sft"] + words).run()
  }
}
