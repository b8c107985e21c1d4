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
    abstract: "Fine-tune a model on a dataset.",
    usage: """
      swiftlet sft recipe.yaml [--key value ...] [--overwrite] [--find-learning-rate] [--board]
      swiftlet sft --help-keys
      """,
    discussion: """
      The recipe is a YAML file with the keys of TRL's `trl sft`. Keys can also be given on the command line, as \
      --learning_rate 2e-4 or --learning-rate 2e-4; they override the recipe. --help-keys lists all keys and their \
      defaults.

      The most important keys: model_name_or_path, dataset_name, output_dir, use_peft, learning_rate, \
      num_train_epochs, per_device_train_batch_size, gradient_accumulation_steps, max_length, logging_steps, \
      resume_from_checkpoint.

      --overwrite replaces the result of another model or dataset in output_dir.

      To split a run across processes, on one host or several, start it with MPI: mpirun -n 4 swiftlet sft recipe.yaml

      --find-learning-rate first takes 15 steps with a growing learning rate on a copy of the adapter, shows the loss \
      after each, and then trains with the suggested rate.

      --board serves a page that shows the run while it goes on, as `swiftlet board` does.
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
    let findsRate = words.take(flag: "--find-learning-rate")
    let showsBoard = words.take(flag: "--board")
    let ranks = try Ranks.join()
    do {
      var recipe = try Recipe(commandLine: words.words, method: method)
      try recipe.checkComplete()
      if ranks.leads { for note in recipe.notes { Printing.remark("Note: \(note)", indent: 0) } }
      if findsRate, let rate = try await LearningRateSearch(recipe, overwrites: overwrites, ranks: ranks).rate() {
        try words.set(option: "--learning_rate", to: String(cFormat: "%g", rate))
        recipe = try Recipe(commandLine: words.words, method: method)
      }
      let board = showsBoard && ranks.leads ? try RunBoard(of: recipe) : nil
      defer { board?.end() }
      _ = try await TrainingSession(
        recipe, command: [method.rawValue] + words.words, overwrites: overwrites, ranks: ranks
      ).run()
    } catch {
      Main.leave(error, ranks, of: method.rawValue)
    }
    ranks.leave()
  }
}
