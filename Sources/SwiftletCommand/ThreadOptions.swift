import ArgumentParser
import Essentials
import Tensors

/// `--threads`, which every subcommand accepts.
struct ThreadOptions: ParsableArguments {
  @Option(
    name: .customLong("threads"),
    help: ArgumentHelp(
      "The number of threads; works with every subcommand. (default: $SWIFTLET_THREADS, or one per available processor)",
      valueName: "n"))
  var count: Int?

  /// Takes `--threads N` or `--threads=N` out of the words of a command line, wherever it is, and sets the number of
  /// threads. Subcommands that hand all of their words to a recipe then accept it as well.
  static func apply(_ words: [String]) throws -> [String] {
    var rest: [String] = []
    var given: (name: String, text: String)?
    if let text = ProcessInfo.processInfo.environment[ThreadCount.variable] { given = (ThreadCount.variable, text) }
    var index = 0
    while index < words.count, words[index] != "--" {
      let word = words[index]
      if word == "--threads" {
        guard index + 1 < words.count else { throw ValidationError("--threads needs a number") }
        given = (word, words[index + 1])
        index += 1
      } else if word.hasPrefix("--threads=") {
        given = ("--threads", String(word.dropFirst("--threads=".count)))
      } else {
        rest.append(word)
      }
      index += 1
    }
    if let given {
      guard let count = ThreadCount.parsed(given.text) else {
        throw ValidationError("\(given.name) must be a number from 1 to \(ThreadCount.most) (got \"\(given.text)\")")
      }
      CPUBackend.useThreads(count)
    }
    return rest + words[index...]
  }
}
