import Foundation
import Swiftlet

/// Runs the examples in this folder: all of them, or those named on the command line.
@main enum Main {
  /// The examples by name.
  static let examples: KeyValuePairs<String, @Sendable (Setup) async throws -> Void> = [
    "ten-lines": TenLines.run, "custom-loss": CustomLoss.run, "custom-callback": CustomCallback.run,
    "custom-optimizer": CustomOptimizer.run, "cancel-and-resume": CancelAndResume.run, "two-chats": TwoChats.run,
  ]

  static func main() async throws {
    let words = Array(CommandLine.arguments.dropFirst())
    guard let model = words.first else {
      print("usage: LibraryExamples MODEL [EXAMPLE ...]")
      print(
        "MODEL is a folder, a GGUF file or org/name; the examples are \(examples.map(\.key).joined(separator: ", "))")
      return
    }
    let setup = Setup(model: model)
    for (name, run) in examples where words.count == 1 || words.dropFirst().contains(name) {
      print("\n== \(name)")
      try await run(setup)
    }
  }
}

/// Writes text at once; `print` without a newline would wait for the end of the line.
func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }

/// What the examples share.
struct Setup: Sendable {
  /// The base model: a folder, a GGUF file or `org/name`.
  let model: String

  /// A few sentences in plain English and in Yoda's order.
  static let sentences: [[String: JSONValue]] = [
    ["sentence": "You must not open this box.", "translation": "Open this box, you must not."],
    ["sentence": "The farmer sold two horses.", "translation": "Two horses, the farmer sold."],
    ["sentence": "I will never leave you.", "translation": "Leave you, I will never."],
    ["sentence": "The river is deep here.", "translation": "Deep here, the river is."],
    ["sentence": "She found the key.", "translation": "The key, she found."],
    ["sentence": "We have no time.", "translation": "No time, we have."],
    ["sentence": "This path leads home.", "translation": "Home, this path leads."],
    ["sentence": "He hears the wind.", "translation": "The wind, he hears."],
  ]

  /// The sentences as conversations.
  static var data: Dataset {
    Dataset(sentences).map { [.user($0["sentence"]), .assistant($0["translation"])] }
  }

  /// A folder for one example's results.
  static func folder(_ name: String) -> String { "outputs/\(name)" }
}
