import Diagnostics
import Essentials
import Swiftlet
import Terminal

/// The board of `swiftlet sft --board`: a process of its own, which ends with the run.
struct RunBoard {
  private let process: ChildProcess
  private let printed: URL

  /// Starts it, and tells its address.
  /// - Throws: `SwiftletError` if it doesn't start.
  init(of recipe: Recipe) throws {
    let path = try ServerOptions.programPath()
    let folder = URL(fileURLWithPath: recipe.training.outputDir).standardizedFileURL.deletingLastPathComponent()
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    printed = FileManager.default.temporaryDirectory.appendingPathComponent(
      "swiftlet-board-\(UInt64.random(in: .min ... .max)).txt")
    do {
      _ = try OpenFile(printed.path, O_WRONLY | O_CREAT)
      var process = try ChildProcess(
        path,
        [
          "board", folder.path, "--port", "0", "--until-process-ends",
          String(ProcessInfo.processInfo.processIdentifier),
        ],
        output: printed.path, errors: printed.path)
      for _ in 0..<100 where process.isRunning() {
        usleep(50_000)
        if let line = Self.text(printed).split(separator: "\n").first {
          Printing.note(String(line))
          break
        }
      }
      guard process.isRunning() else {
        throw SwiftletError.training("the board doesn't start: \(Self.text(printed).trimmed.escapedLine(limit: 300))")
      }
      self.process = process
    } catch let failure as FileFailure {
      throw SwiftletError.training("the board can't be started: \(failure)")
    }
  }

  private static func text(_ url: URL) -> String { (try? String(contentsOf: url, encoding: .utf8)) ?? "" }

  func end() {
    process.terminate()
    unlink(printed.path)
  }
}
