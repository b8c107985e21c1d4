import Diagnostics
import ArgumentParser
import CVersion
import Recipes
import Swiftlet
import Essentials
import Tensors
import Terminal

/// The command. Each subcommand has its own file.
struct RootCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swiftlet",
    abstract: "Fine-tune language models: train, compare, chat, and export.",
    version: String(cString: swiftlet_version()),
    subcommands: [
      SFT.self, DPO.self, ORPO.self, CPO.self, KTO.self, GRPO.self, Reward.self, Classify.self, AuditCommand.self,
      Plan.self, Chat.self, Generate.self, Compare.self, Eval.self, Score.self, Merge.self, Export.self, Verify.self,
      Inspect.self, Preview.self, Tokenize.self,
      Render.self, Pull.self, Push.self, Serve.self, Board.self, Bench.self, Devices.self, Doctor.self, Demo.self,
    ])

  @OptionGroup var threads: ThreadOptions
}

@main
enum Main {
  /// Exit status: 0 for success, 1 for a failure, 2 for a wrong command line or recipe, 128 + N for signal N.
  static func main() async {
    // A file that exceeds a limit (ulimit -f) is then an error like a full disk.
    signal(SIGXFSZ, SIG_IGN)
    var isRunning = false
    do {
      try useInstructionSet(named: ProcessInfo.processInfo.environment[InstructionSet.variable])
      let words = withDashes(try ThreadOptions.apply(Array(CommandLine.arguments.dropFirst())))
      if let script = RecipeCompletions.script(for: words) { return Output.standardOutput.writeText(script) }
      try checkSubcommand(words)
      var command = try RootCommand.parseAsRoot(words)
      isRunning = true
      if var asynchronous = command as? AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      leave(error, of: isRunning ? CommandLine.arguments.dropFirst().first : nil)
    }
  }

  /// Uses the kernels that the environment names, for benchmarks and to narrow down a fault.
  private static func useInstructionSet(named name: String?) throws {
    guard let name, !name.isEmpty else { return }
    let supported = InstructionSet.supported
    guard let chosen = supported.first(where: { $0.rawValue == name }) else {
      let names = supported.map(\.rawValue).joined(separator: ", ")
      throw ValidationError(
        "\(InstructionSet.variable) must be one of \(names) on this processor (got \(name.quotedExcerpt))")
    }
    chosen.use()
  }

  /// Options may be spelled with underscores, as recipe keys are. Subcommands that take keys read both spellings
  /// themselves.
  private static func withDashes(_ words: [String]) -> [String] {
    guard let name = words.first, !["sft", "train", "plan", "preview", "audit"].contains(name) else { return words }
    var isOption = true
    return words.map { (word: String) -> String in
      if word == "--" { isOption = false }
      guard isOption, word.hasPrefix("--") else { return word }
      let option = word.prefix { $0 != "=" }
      return String(option).replacing("_", with: "-") + String(word.dropFirst(option.count))
    }
  }

  /// Suggests a subcommand for a mistyped one.
  private static func checkSubcommand(_ words: [String]) throws {
    guard let word = words.first, !word.hasPrefix("-") else { return }
    let names = RootCommand.configuration.subcommands.flatMap { command in
      [command._commandName] + command.configuration.aliases
    }
    if names.contains(word) || word == "help" { return }
    var hint = "swiftlet --help lists the commands"
    if word.hasSuffix(".yaml") || word.hasSuffix(".yml") {
      hint = "to train with a recipe: swiftlet sft \(Shell.quoted(word))"
    } else if let name = EditDistance.nearest(to: word, among: names) {
      hint = "did you mean \(name)?"
    }
    throw UnknownCommand(description: "unknown command \(word.quotedExcerpt); \(hint)")
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

  /// Prints the error and ends the process; after a failure on one of several ranks, all of them.
  /// - Parameter name: the subcommand that was running.
  static func leave(_ error: any Error, _ ranks: Ranks = .alone, of name: String? = nil) -> Never {
    if let paused = error as? PausedRun {
      if ranks.leads { Printing.note("\n\(paused)") }
      ranks.leave()
      exit(128 + paused.signal)
    }
    if let code = error as? ExitCode { exit(code.rawValue) }
    let status = RootCommand.exitCode(for: error)
    if status == .success {
      print(RootCommand.fullMessage(for: error))
      exit(0)
    }
    let isCall = error is UnknownCommand || status == .validationFailure || (error as? SwiftletError)?.domain == .recipe
    var message = "Error: \(error)"
    if status == .validationFailure {
      // A running subcommand is unknown to the parser, which would show the usage of the whole program.
      message =
        name.map { "\(message)\n  See 'swiftlet \($0) --help' for more information." }
        ?? RootCommand.fullMessage(for: error).printable
    }
    if let hint = missingOptionHint(message) { message += "\n" + hint }
    ranks.end(status: isCall ? 2 : 1) {
      let place = ranks.leads ? "" : "Rank \(ranks.collective.rank) on \(hostName): "
      try? OpenFile.standardError.write(Array((place + message + "\n").utf8))
    }
  }
}

/// The name of this host, as the system knows it.
private var hostName: String {
  var name = [CChar](repeating: 0, count: 256)
  gethostname(&name, name.count - 1)
  return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// A word in place of a subcommand.
private struct UnknownCommand: Error, CustomStringConvertible {
  let description: String
}
