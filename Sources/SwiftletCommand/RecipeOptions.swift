import ArgumentParser
import Recipes
import Swiftlet
import Terminal
import Training

/// The arguments of subcommands that take recipe keys: their own flags are taken out, the rest is a recipe.
struct RecipeWords {
  private(set) var words: [String]

  init(_ words: [String]) { self.words = words }

  /// Removes a flag and returns whether it was there.
  mutating func take(flag: String) -> Bool {
    let count = words.count
    words.removeAll { $0 == flag }
    return words.count < count
  }

  /// Removes an option with a value.
  mutating func take(text name: String) throws -> String? {
    if let index = words.firstIndex(where: { $0.hasPrefix(name + "=") }) {
      return String(words.remove(at: index).dropFirst(name.count + 1))
    }
    guard let index = words.firstIndex(of: name) else { return nil }
    guard index + 1 < words.count else { throw ValidationError("\(name) needs a value") }
    defer { words.removeSubrange(index...index + 1) }
    return words[index + 1]
  }

  /// Replaces a recipe key, however it is spelled.
  mutating func set(option name: String, to value: String) throws {
    for spelling in [name, "--" + name.dropFirst(2).replacing("_", with: "-")] { _ = try take(text: spelling) }
    words += [name, value]
  }

  /// Removes an option with a positive number.
  mutating func take(number name: String) throws -> Int? {
    guard let text = try take(text: name) else { return nil }
    guard let number = Int(text), number > 0 else { throw ValidationError("\(name) must be a positive number") }
    return number
  }

  /// Prints the help or the keys if that is what the words ask for.
  mutating func answerHelp(for command: some ParsableCommand, _ method: TrainingMethod.Name = .sft) throws {
    if take(flag: "--help-keys") {
      RecipeHelp.show(method)
      throw ExitCode.success
    }
    if words.contains("--help") || words.contains("-h") { throw CleanExit.helpRequest(command) }
  }
}

/// The keys of a recipe as help.
enum RecipeHelp {
  /// Prints the supported keys of a method by group, with their defaults.
  static func show(_ method: TrainingMethod.Name) {
    let output = Output.standardOutput
    let columns = output.isTerminal ? output.columns() : 100
    for section in RecipeKey.Section.allCases {
      let keys = RecipeKey.all(for: method).filter { $0.section == section && $0.status == .honored }
      if keys.isEmpty { continue }
      Printing.result(output.style.bold(section.rawValue))
      for key in keys {
        let value = "--\(key.name) (\(key.expectation); default: \(key.defaultValue(for: method).text()))"
        for (index, line) in value.wrapped(to: max(20, columns - 4)).enumerated() {
          Printing.result((index == 0 ? "  " : "    ") + line)
        }
        let meaning = key.meaning.replacing("`", with: "")
          .replacing("see [Steps](#steps)", with: "Documentation/RecipeKeys.md describes them")
        for line in meaning.wrapped(to: max(20, columns - 6)) { Printing.result("      " + line) }
      }
      Printing.result("")
    }
  }
}
