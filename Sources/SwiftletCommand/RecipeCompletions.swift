import ArgumentParser
import Recipes
import Swiftlet

/// Completion scripts of shells, with the keys of recipes, which the argument parser doesn't know.
enum RecipeCompletions {
  /// The subcommands that take keys, with the options that they take besides.
  private static let options = [
    "sft": training, "dpo": training, "orpo": training, "cpo": training, "kto": training, "reward": training,
    "classify": training, "grpo": ["config", "overwrite", "board", "help-keys"],
    "plan": ["config", "json", "result", "ranks", "bandwidth"], "preview": ["config", "rows", "ids", "json"],
    "audit": [
      "config", "model-loss", "adapter", "loss-rows", "show", "similarity", "write", "drop", "overwrite", "json",
    ],
  ]
  private static let training = ["config", "overwrite", "find-learning-rate", "board", "help-keys"]

  /// The script that the command line asks for; `nil` if it doesn't.
  static func script(for words: [String]) -> String? {
    let flag = "--generate-completion-script"
    let name = words.first.flatMap { $0.hasPrefix(flag + "=") ? String($0.dropFirst(flag.count + 1)) : nil }
    guard let shell = name ?? (words.first == flag ? words.dropFirst().first : nil) else { return nil }
    switch CompletionShell(rawValue: shell) {
    case .bash?: return adding(to: RootCommand.completionScript(for: .bash), bash)
    case .zsh?: return adding(to: RootCommand.completionScript(for: .zsh), zsh)
    case .fish?: return RootCommand.completionScript(for: .fish) + options.keys.sorted().map(fish).joined()
    default: return nil
    }
  }

  /// The names and meanings of a subcommand's keys and options.
  private static func entries(of subcommand: String) -> [(name: String, meaning: String)] {
    let method = TrainingMethod.Name(rawValue: subcommand) ?? .sft
    let keys = RecipeKey.all(for: method).filter { $0.status == .honored }.map { ($0.name, $0.meaning) }
    return keys + (options[subcommand] ?? []).map { ($0, "") }
  }

  /// Changes the function of each subcommand in a script.
  private static func adding(to script: String, _ change: (String, String) -> String) -> String {
    options.keys.sorted().reduce(script) { script, subcommand in
      guard let start = script.firstRange(of: "\n_swiftlet_\(subcommand)() {\n"),
        let end = script[start.upperBound...].firstRange(of: "\n}\n")
      else { return script }
      let body = change(subcommand, String(script[start.upperBound..<end.lowerBound]))
      return String(script[..<start.upperBound]) + body + String(script[end.lowerBound...])
    }
  }

  private static func bash(_ subcommand: String, _ body: String) -> String {
    let words = entries(of: subcommand).map { "--" + $0.name }.joined(separator: " ")
    return body.replacing("non_repeating_options=()", with: "non_repeating_options=(\(words))")
      + "\n    [[ \"${cur}\" = -* ]] || __swiftlet_add_completions -f"
  }

  private static func zsh(_ subcommand: String, _ body: String) -> String {
    let specifications = entries(of: subcommand).map { entry in
      var meaning = entry.meaning.replacing("\\", with: "\\\\")
      for character in ["[", "]", ":"] { meaning = meaning.replacing(character, with: "\\" + character) }
      let remark = meaning.isEmpty ? "" : "[\(meaning.replacing("'", with: "'\\''"))]"
      return "        '--\(entry.name)\(remark):value:_files'\n"
    }
    let words = "        '*:words:"
    return body.replacing(words + "'\n", with: words + "_files'\n" + specifications.joined())
  }

  private static func fish(_ subcommand: String) -> String {
    entries(of: subcommand).map { entry in
      let meaning = entry.meaning.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
      return "complete -c 'swiftlet' -n '__swiftlet_should_offer_completions_for_flags_or_options \"swiftlet "
        + "\(subcommand)\" \(entry.name)' -l '\(entry.name)' -d '\(meaning)' -rF\n"
    }.joined()
  }
}
