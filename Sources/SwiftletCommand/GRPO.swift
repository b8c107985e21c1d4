import ArgumentParser
import Swiftlet
import Training

/// `swiftlet grpo recipe.yaml [--key value ...]`
struct GRPO: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grpo",
    abstract: "Train a model on its own answers, which rewards judge.",
    usage: """
      swiftlet grpo recipe.yaml [--key value ...] [--overwrite]
      swiftlet grpo --help-keys
      """,
    discussion: """
      Group relative policy optimization. The recipe has the keys of TRL's `trl grpo`; --help-keys lists them with their \
      defaults. Rows have a prompt, as text or as messages, and whatever else the rewards need.

      The most important keys besides those of `sft`: reward_funcs, num_generations, max_completion_length, temperature, \
      beta, loss_type. A reward is accuracy_reward, think_format_reward, soft_overlong_punishment, or a program such as \
      ./reward.py: it reads a JSON object per line, with prompt, completion and the row's other columns, and prints a \
      number per line.

      --overwrite replaces the result of another model or dataset in output_dir.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.grpo, words, help: self) }
}
