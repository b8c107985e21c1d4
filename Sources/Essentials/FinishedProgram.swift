/// A program that has run to its end.
package struct FinishedProgram {
  /// The file of its standard output.
  package let output: URL
  /// Its exit status, or 128 plus the number of the signal that killed it.
  package let status: Int32
  /// The lines that it wrote to its standard error, without blank ones.
  package let messages: [String]

  /// Runs the program at `path`, with its output in temporary files.
  /// - Parameters:
  ///   - input: what it reads.
  ///   - arguments: its arguments, given the path of the file of its output.
  ///   - wait: called while it runs; may stop it and throw.
  ///   - body: called when it has ended. Afterwards its files are unlinked.
  /// - Throws: `FileFailure` if it cannot be started, and what the closures throw.
  package static func run<Value>(
    _ path: String, input: String = "", arguments: (_ output: String) -> [String],
    wait: (inout ChildProcess, _ output: URL) throws -> Void = { _, _ in }, _ body: (FinishedProgram) throws -> Value
  ) throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let files = ["input", "output", "messages"].map { folder.appendingPathComponent($0) }
    try Data(input.utf8).write(to: files[0])
    for file in files[1...] { try Data().write(to: file) }
    var process = try ChildProcess(
      path, arguments(files[1].path), input: files[0].path, output: files[1].path, errors: files[2].path)
    try wait(&process, files[1])
    let status = process.wait().status
    let messages = String(decoding: try Data(contentsOf: files[2]), as: UTF8.self)
      .split(whereSeparator: \.isNewline).map(String.init).filter { !$0.allSatisfy(\.isWhitespace) }
    return try body(FinishedProgram(output: files[1], status: status, messages: messages))
  }
}
