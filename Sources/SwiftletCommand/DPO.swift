import ArgumentParser
import Swiftlet

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
      Direct preference optimization. The recipe has the keys of TRL's `trl dpo`; --help-keys lists them with their
      defaults. Rows have prompt, chosen and rejected, as text or as messages; without a prompt, it is what chosen and
      rejected both begin with.

      The most important keys besides those of `sft`: beta, loss_type, precompute_ref_log_probs.

      --overwrite allows an output_dir with the result of another model or dataset.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.dpo, words, help: self) }
}
