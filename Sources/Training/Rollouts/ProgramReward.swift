import Datasets
import Diagnostics
import Essentials
import OrderedJSON

/// A reward that another program computes. It reads a line of JSON for each completion, with `prompt`, `completion` and
/// the row's other columns, and prints a line for each: a number, or `null` if it cannot judge the completion.
struct ProgramReward: Reward {
  /// The program's path and its arguments.
  let path: String
  let arguments: [String]
  /// How long it may take for all completions that are sampled together, in seconds.
  let timeout: Double
  let name: String

  /// The program of a command line, whose words are separated by spaces and can be quoted.
  /// - Parameter locate: finds files that the command line names.
  /// - Throws: `SwiftletError` if there is no such program.
  init(_ commandLine: String, timeout: Double, locate: (String) -> String) throws(SwiftletError) {
    let words = Self.words(commandLine).map { $0.hasPrefix("-") ? $0 : locate($0) }
    let first = words.first ?? ""
    let path =
      first.contains("/") || FileManager.default.isExecutableFile(atPath: first)
      ? Self.absolute(first) : ExternalProgram.path(of: first)
    guard let path, FileManager.default.isExecutableFile(atPath: path) else {
      let names = BuiltInReward.allCases.map(\.rawValue).joined(separator: ", ")
      let isFile = path.map { FileManager.default.fileExists(atPath: $0) } ?? false
      throw SwiftletError.training(
        isFile
          ? "`rewards`: \(first.quotedExcerpt) is not executable; make it so with chmod +x, or name its interpreter first"
          : "`rewards`: \(first.quotedExcerpt) is neither a built-in reward (\(names)) nor a program; give the path of a "
            + "program, such as ./reward.py")
    }
    self.path = path
    self.timeout = timeout
    arguments = Array(words.dropFirst())
    // An interpreter's name would say nothing.
    let script = words.dropFirst().first { !$0.hasPrefix("-") && FileManager.default.fileExists(atPath: $0) }
    name = URL(fileURLWithPath: script ?? path).deletingPathExtension().lastPathComponent
  }

  private static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).path }

  private static func words(_ commandLine: String) -> [String] {
    var words: [String] = []
    var (word, quote): (String?, Character?) = (nil, nil)
    for character in commandLine {
      if character == quote {
        quote = nil
      } else if quote == nil, character == "'" || character == "\"" {
        quote = character
        word = word ?? ""
      } else if quote == nil, character.isWhitespace {
        if let finished = word { words.append(finished) }
        word = nil
      } else {
        word = (word ?? "") + String(character)
      }
    }
    return words + (word.map { [$0] } ?? [])
  }

  func scores(_ completions: [SampledCompletion]) throws(SwiftletError) -> [Double?] {
    let lines = completions.map { completion in
      var object = completion.row
      object["completion"] = .string(completion.text)
      return JSONValue.object(object).text(.compact) + "\n"
    }
    let output = try run(input: lines.joined())
    let numbers = output.split(whereSeparator: \.isNewline).map { $0.filter { !$0.isWhitespace } }
    guard numbers.count == completions.count else {
      throw failure(
        "printed \(numbers.count) lines for \(completions.count) completions; print one number for each line of its "
          + "standard input")
    }
    var scores: [Double?] = []
    for (index, number) in numbers.enumerated() {
      if ["null", "None"].contains(number) {
        scores.append(nil)
      } else if let score = Double(number), score.isFinite {
        scores.append(score)
      } else {
        throw failure("printed \(number.quotedExcerpt) in line \(index + 1); print a finite number, or null")
      }
    }
    return scores
  }

  /// Runs the program on this text.
  /// - Returns: what it printed.
  private func run(input text: String) throws(SwiftletError) -> String {
    do {
      return try FinishedProgram.run(path, input: text, arguments: { _ in arguments }) { process, _ in
        try waitUntilTimeout(for: &process)
      } _: { finished in
        // A traceback ends with what went wrong.
        guard finished.status == 0 else {
          let line = finished.messages.last.map { ": \($0.escapedLine(limit: 300))" } ?? ""
          throw failure("ended with status \(finished.status)\(line)")
        }
        return String(decoding: try Data(contentsOf: finished.output), as: UTF8.self)
      }
    } catch let error as SwiftletError {
      throw error
    } catch {
      throw failure("cannot be run: \((error as? FileFailure)?.reason ?? "\(error)")")
    }
  }

  private func waitUntilTimeout(for process: inout ChildProcess) throws(SwiftletError) {
    let begin = ContinuousClock.now
    while process.isRunning() {
      usleep(2_000)
      guard (ContinuousClock.now - begin) / .seconds(1) > timeout else { continue }
      kill(process.number, SIGKILL)
      _ = process.wait()
      throw failure("has not ended after \(timeout) seconds; make it faster, or raise `rewardTimeout`")
    }
  }

  private func failure(_ problem: String) -> SwiftletError {
    SwiftletError.training("the reward program \(path) \(problem)")
  }
}

extension GRPOConfiguration {
  /// The rewards that the settings name.
  /// - Parameter locate: finds files that command lines name.
  /// - Throws: `SwiftletError` if there are none, or one is neither built in nor a program.
  package func makeRewards(locate: (String) -> String = { $0 }) throws(SwiftletError) -> [any Reward] {
    guard !rewards.isEmpty else {
      throw SwiftletError.training("grpo needs `rewards`; name a built-in reward, or a program such as ./reward.py")
    }
    var made: [any Reward] = []
    for name in rewards {
      if let builtIn = BuiltInReward(rawValue: name) {
        made.append(builtIn.reward(maxLength: maxCompletionLength))
      } else {
        made.append(try ProgramReward(name, timeout: rewardTimeout, locate: locate))
      }
      if made.dropLast().contains(where: { $0.name == made[made.count - 1].name }) {
        throw SwiftletError.training("`rewards`: two rewards are called \(made[made.count - 1].name); rename a program")
      }
    }
    return made
  }
}
