import Diagnostics
import ArgumentParser
import CVersion
import Recipes
import Swiftlet
import Essentials
import Terminal

/// The command. Each subcommand has its own file.
struct RootCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swiftlet",
    abstract: "Fine-tune language models: train, compare, chat, and export.",
    version: String(cString: swiftlet_version()),
    subcommands: [
      SFT.self, DPO.self, ORPO.self, CPO.self, KTO.self, Plan.self, Chat.self, Generate.self, Compare.self, Eval.self,
      Merge.self, Export.self,
      Inspect.self,
      Preview.self, Tokenize.self, Render.self, Pull.self, Bench.self, Devices.self, Demo.self,
    ])

  @OptionGroup var threads: ThreadOptions
}

@main
enum Main {
  /// Exit status: 0 for success, 1 for a failure, 2 for a wrong command line or recipe, 128 + N for signal N.
  static func main() async {
    // A file that exceeds a limit (ulimit -f) is then an error like a full disk.
    signal(SIGXFSZ, SIG_IGN)
    do {
      let words = try ThreadOptions.apply(Array(CommandLine.arguments.dropFirst()))
      try checkSubcommand(words)
      var command = try RootCommand.parseAsRoot(words)
      if var asynchronous = command as? AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      leave(error)
    }
  }

  /// Suggests a subcommand for a mistyped one.
  private static func checkSubcommand(_ words: [String]) throws {
    guard let word = words.first, !word.hasPrefix("-") else { return }
    let names = RootCommand.configuration.subcommands.flatMap { command in
      [command._commandName] + command.configuration.aliases
    }
    if names.contains(word) || word == "help" { return }
    var hint = "swiftlet --help lists the commands."
    if word.hasSuffix(".yaml") || word.hasSuffix(".yml") {
      hint = "To train with a recipe: swiftlet sft \(Shell.quoted(word))"
    } else if let name = EditDistance.nearest(to: word, among: names) {
      hint = "Did you mean \(name)?"
    }
    throw UnknownCommand(description: "unknown command \(word.quotedExcerpt). \(hint)")
  }

  /// Names a mistyped option if a required one is missing.
  private static func missingOptionHint(_ message: String) -> String? {
    let lead = "Missing expected argument '--"
    guard let start = message.firstRange(of: lead) else { return nil }
    let missing = String(message[start.upperBound...].prefix { $0.isLetter || $0 == "-" })
    for word in CommandLine.arguments.dropFirst() where word.hasPrefix("--") {
      let name = String(word.dropFirst(2).prefix { $0 != "=" })
      if name != missing, EditDistance.nearest(to: name, among: [missing]) != nil {
        return "Did you mean --\(missing) instead of --\(name)?"
      }
    }
    return nil
  }

  private static func leave(_ error: any Error) -> Never {
    if let paused = error as? PausedRun {
      Printing.note("\n\(paused)")
      exit(128 + paused.signal)
    }
    if let code = error as? ExitCode { exit(code.rawValue) }
    let status = RootCommand.exitCode(for: error)
    if status == .success {
      print(RootCommand.fullMessage(for: error))
      exit(0)
    }
    let isCall = error is UnknownCommand || status == .validationFailure || (error as? SwiftletError)?.domain == .recipe
    var message = status == .validationFailure ? RootCommand.fullMessage(for: error) : "Error: \(error)"
    if let hint = missingOptionHint(message) { message += "\n" + hint }
    try? OpenFile.standardError.write(Array((message + "\n").utf8))
    exit(isCall ? 2 : 1)
  }
}

/// A word in place of a subcommand.
private struct UnknownCommand: Error, CustomStringConvertible {
  let description: String
}
