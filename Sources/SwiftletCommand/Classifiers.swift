import ArgumentParser
import Swiftlet
import Training

/// `swiftlet reward recipe.yaml [--key value ...]`
struct Reward: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reward",
    abstract: "Train a reward model on preferences: it scores texts.",
    usage: """
      swiftlet reward recipe.yaml [--key value ...] [--overwrite]
      swiftlet reward --help-keys
      """,
    discussion: """
      The model gets a head with one score in place of its language model head (Bradley-Terry). Rows have chosen and \
      rejected, as text or as messages, optionally with a prompt, which both follow, and a margin. The recipe has the \
      keys of TRL's `trl reward`; --help-keys lists them with their defaults. swiftlet score uses the result.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.reward, words, help: self) }
}

/// `swiftlet classify recipe.yaml [--key value ...]`
struct Classify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "classify",
    abstract: "Train a classifier: it gives texts or conversations one of several labels.",
    usage: """
      swiftlet classify recipe.yaml [--key value ...] [--overwrite]
      swiftlet classify --help-keys
      """,
    discussion: """
      The model gets a head with a score for each label in place of its language model head. Rows have a label (a name, \
      or a number from 0) and text or messages. The recipe has the keys of transformers' trainer, and num_labels and \
      id2label; --help-keys lists them with their defaults. swiftlet score uses the result.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws { try await TrainingSession.run(.classify, words, help: self) }
}
