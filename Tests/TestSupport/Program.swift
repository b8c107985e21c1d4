import Essentials
import Foundation

/// Programs that tests run. Foundation's `Process` is not used: waiting for it runs the run loop of whichever thread is
/// at hand, and tests share theirs.
package enum Program {
  package struct Outcome: Sendable {
    /// The exit status, or 128 plus the number of the signal that ended the program.
    package let status: Int32
    /// Whether a signal, such as that of a trap, ended it.
    package let wasKilled: Bool
    package let output: String
    package let errors: String
  }

  /// Runs the program at `path` to its end. Waits on a thread of its own.
  /// - Parameters:
  ///   - input: what it reads from standard input.
  ///   - environment: its variables; `nil` passes on this process's.
  ///   - folder: its working directory.
  ///   - started: called with the process's number.
  package static func run(
    _ path: String, _ arguments: [String], input: String = "", environment: [String: String]? = nil, in folder: URL,
    started: (Int32) -> Void = { _ in }
  ) async throws -> Outcome {
    // Files instead of pipes, which would have to be read while the program runs.
    let name = UUID().uuidString
    let files = ["in", "out", "err"].map { folder.appendingPathComponent("\(name).\($0)") }
    defer { for file in files { try? FileManager.default.removeItem(at: file) } }
    try Data(input.utf8).write(to: files[0])
    for file in files[1...] { try Data().write(to: file) }
    let process = try start(
      path, arguments, input: files[0].path, output: files[1].path, errors: files[2].path, environment: environment,
      in: folder)
    started(process.number)
    let (status, wasKilled) = await end(of: process)
    return Outcome(
      status: status, wasKilled: wasKilled, output: String(decoding: try Data(contentsOf: files[1]), as: UTF8.self),
      errors: String(decoding: try Data(contentsOf: files[2]), as: UTF8.self))
  }

  /// Starts the program at `path` in `folder`. Its input and output are files.
  package static func start(
    _ path: String, _ arguments: [String], input: String, output: String, errors: String,
    environment: [String: String]?, in folder: URL
  ) throws -> ChildProcess {
    // posix_spawn can't change the folder everywhere. The shell becomes the program, so the process's number stays.
    try ChildProcess(
      "/bin/sh", ["-c", "cd \"$0\" && exec \"$@\"", folder.path, path] + arguments, input: input, output: output,
      errors: errors, environment: environment)
  }

  /// Waits on a thread of its own until the process ends.
  package static func end(of process: ChildProcess) async -> (status: Int32, wasKilled: Bool) {
    await withCheckedContinuation { continuation in
      SystemThread.start {
        var process = process
        continuation.resume(returning: process.wait())
      }
    }
  }

  /// Writes a shell script that can be run. Another process copies it: a file that this one has written may still be
  /// open in a program that another test is starting, and then the system refuses to run it.
  package static func writeScript(_ body: String, to file: URL) throws {
    let draft = file.appendingPathExtension("draft")
    try "#!/bin/sh\n\(body)\n".write(to: draft, atomically: true, encoding: .utf8)
    var copy = try ChildProcess("/bin/cp", [draft.path, file.path], output: "/dev/null", errors: "/dev/null")
    guard copy.wait().status == 0 else { throw FileFailure(file.path, code: EIO) }
    try FileManager.default.removeItem(at: draft)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
  }
}
