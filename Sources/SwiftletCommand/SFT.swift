import ArgumentParser
import Essentials
import Models
import Swiftlet
import Terminal
import Training

/// `swiftlet sft recipe.yaml [--key value ...]`
struct SFT: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sft",
    abstract: "Train a model on a dataset.",
    usage: """
      swiftlet sft recipe.yaml [--key value ...] [--overwrite]
      swiftlet sft --help-keys
      """,
    discussion: """
      The recipe is a YAML file with the keys of TRL's `trl sft`. Any key can also be given on the command line, as in
      --learning_rate 2e-4 or --learning-rate 2e-4. --help-keys lists all keys with their defaults.

      The most important keys: model_name_or_path, dataset_name, output_dir, use_peft, learning_rate, num_train_epochs,
      per_device_train_batch_size, gradient_accumulation_steps, max_length, logging_steps, resume_from_checkpoint.

      --overwrite allows an output_dir with the result of another model or dataset.
      """,
    aliases: ["train"])

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws {
    try await TrainingSession.run(.sft, words, help: self)
  }
}

extension TrainingSession {
  /// Carries out the subcommand of a method.
  /// - Parameter help: the subcommand, whose help is printed if the words ask for it.
  static func run(_ method: TrainingMethod.Name, _ words: [String], help: some ParsableCommand) async throws {
    var words = RecipeWords(words)
    try words.answerHelp(for: help, method)
    let overwrites = words.take(flag: "--overwrite")
    let recipe = try Recipe(commandLine: words.words, method: method)
    try recipe.checkComplete()
    for note in recipe.notes { Printing.note("Note: \(note)") }
    _ = try await TrainingSession(recipe, command: [method.rawValue] + words.words, overwrites: overwrites).run()
  }
}
