import ArgumentParser
import Swiftlet
import Training

/// `swiftlet dpo recipe.yaml [--key value ...]`
struct DPO: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dpo",
    abstract: "Train a model on preferences: answers to prefer over others.",
    usage: """
      swiftlet dpo recipe.yaml [--key value ...] [--overwrite]
      swiftlet dpo --help-keys
      """,
    discussion: """
      Direct preference optimization. The recipe has the keys of TRL's `trl dpo`; --help-keys lists them with their \
      defaults. Rows have prompt, chosen and rejected, as text or as messages; without a prompt, it is what chosen and \
      rejected both begin with.

      The most important keys besides those of `sft`: beta, loss_type, precompute_ref_log_probs.

      --overwrite replaces the result of another model or dataset in output_dir.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.dpo, words, help: self) }
}

/// `swiftlet orpo recipe.yaml [--key value ...]`
struct ORPO: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "orpo",
    abstract: "Train a model on preferences and their likelihood, without a reference.",
    usage: """
      swiftlet orpo recipe.yaml [--key value ...] [--overwrite]
      swiftlet orpo --help-keys
      """,
    discussion: """
      Odds ratio preference optimization. Rows are those of `dpo`, and the recipe has the keys of TRL's ORPO trainer; \
      --help-keys lists them with their defaults.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.orpo, words, help: self) }
}

/// `swiftlet cpo recipe.yaml [--key value ...]`
struct CPO: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cpo",
    abstract: "Train a model on preferences with CPO or SimPO, without a reference.",
    usage: """
      swiftlet cpo recipe.yaml [--key value ...] [--overwrite]
      swiftlet cpo --help-keys
      """,
    discussion: """
      Contrastive preference optimization; with loss_type: simpo and cpo_alpha: 0, SimPO. Rows are those of `dpo`, and \
      the recipe has the keys of TRL's CPO trainer; --help-keys lists them with their defaults.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.cpo, words, help: self) }
}

/// `swiftlet kto recipe.yaml [--key value ...]`
struct KTO: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kto",
    abstract: "Train a model on completions that are labeled good or bad.",
    usage: """
      swiftlet kto recipe.yaml [--key value ...] [--overwrite]
      swiftlet kto --help-keys
      """,
    discussion: """
      Kahneman-Tversky optimization. Rows have prompt, completion and label (true or false), or those of `dpo`. The \
      recipe has the keys of TRL's `trl kto`; --help-keys lists them with their defaults.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.kto, words, help: self) }
}
