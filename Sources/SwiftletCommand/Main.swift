import Diagnostics
import ArgumentParser
import CVersion
import Swiftlet
import Essentials

/// The command. Each subcommand stands in a file of its own.
struct RootCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swiftlet",
    abstract: "Fine-tunes language models: train, compare, chat, and take the files away.",
    version: String(cString: swiftlet_version()),
    subcommands: [
      SFT.self, Plan.self, Chat.self, Generate.self, Compare.self, Eval.self, Merge.self, Export.self, Inspect.self,
      Preview.self, Tokenize.self, Render.self, Pull.self, Bench.self, Devices.self, Demo.self,
    ])

  @OptionGroup var threads: ThreadOptions
}

@main
enum Main {
  /// Exit status: 0 done, 1 the work failed, 2 the call was wrong, 128 and its number for a signal.
  static func main() async {
    // A file that grows beyond a limit (ulimit -f) is then an error like a full disk, and not the end of the process.
    signal(SIGXFSZ, SIG_IGN)
    do {
      let words = try ThreadOptions.apply(Array(CommandLine.arguments.dropFirst()))
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
    let isCall = status == .validationFailure || (error as? SwiftletError)?.domain == .recipe
    let message = status == .validationFailure ? RootCommand.fullMessage(for: error) : "Error: \(error)"
    try? OpenFile.standardError.write(Array((message + "\n").utf8))
    exit(isCall ? 2 : 1)
  }

}
