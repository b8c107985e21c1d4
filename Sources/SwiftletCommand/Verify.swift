import ArgumentParser
import Auditing
import Diagnostics
import Essentials
import Models
import Swiftlet
import Terminal

/// `swiftlet verify PATH`
struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check that an adapter, a model, a GGUF file, a folder for MLX or a zip file contains what was trained.",
    discussion: """
      Opens PATH again and compares it with what the run recorded in verification.json when it ended: losses and greedy \
      answers, or scores; tokenizer, chat template and EOS token. The exit status is 1 if something differs.
      """)

  @Argument(help: "The folder of an adapter or a model, also one for MLX; a .gguf file; or a .zip file of one of them.")
  var path: String

  @Option(name: [.short, .long], help: "The base model of an adapter. (default: the one that its configuration names)")
  var model: String?

  @Option(help: "The folder of the run, or its verification.json. (default: the one in PATH or next to it)")
  var record: String?

  @OptionGroup var device: DeviceOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let opened = try await DownloadProgress.show {
      try await VerifiedModel.open(
        path, base: model, record: record, on: try device.backend(), progress: $0)
    }
    let verification = try VerificationReport.verification(opened)
    if json { Printing.json(verification.json) } else { VerificationReport.show(verification) }
    guard !verification.problems.isEmpty else { return }
    if !json { for problem in verification.problems { Printing.note("Error: \(problem)") } }
    throw ExitCode.failure
  }
}

/// A verification, for people.
enum VerificationReport {
  /// Compares a model with its record behind a progress bar.
  static func verification(_ opened: VerifiedModel) throws -> Verification {
    var bar = ProgressBar("verifying", total: 0)
    defer { bar.clear() }
    return try opened.verify { bar.update($0, total: $1) }
  }

  static func show(_ verification: Verification) {
    let output = Output.standardOutput
    var table = Table("", "after training", "in the files", "")
    for check in verification.checks {
      table.append([check.name, check.recorded, check.found, check.problem == nil ? "ok" : "differs"])
    }
    output.write(table.text(width: output.columns(), border: .plain, style: output.style))
  }

  /// Compares a model with its record and says so in a line.
  /// - Throws: `SwiftletError` with all that differs.
  static func check(_ opened: VerifiedModel, _ path: String) throws {
    let verification = try verification(opened)
    guard verification.problems.isEmpty else {
      throw SwiftletError.model(
        "\(path) does not hold what was trained. " + verification.problems.joined(separator: " "))
    }
    let facts = verification.checks.map { "\($0.name) \($0.found)" }.joined(separator: ", ")
    Printing.note("Verified \(path): \(facts).")
  }
}
