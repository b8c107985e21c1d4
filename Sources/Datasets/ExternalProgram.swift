import Diagnostics
import Essentials

/// A command-line program that converts a file to a format with rows.
package struct ExternalProgram: Sendable {
  /// The name of its executable.
  package let name: String
  /// How to install it.
  package let remedy: String

  static let duckDB = ExternalProgram(name: "duckdb", remedy: "install it with pip install duckdb-cli")
  package static let gzip = ExternalProgram(name: "gzip", remedy: "install it with the system's package manager")
  static let zstandard = ExternalProgram(name: "zstd", remedy: "install it with the system's package manager")

  /// Every program that data files may need.
  package static let all = [duckDB, gzip, zstandard]

  /// The path of its executable in `PATH`; `nil` if it is not installed.
  package var path: String? { Self.path(of: name) }

  /// The path of an executable in `PATH`; `nil` if there is none.
  package static func path(of name: String) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    return folders.map { $0 + "/" + name }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Runs the program with its standard output redirected to a temporary file, and opens that file.
  ///
  /// The output goes to disk, so its size does not matter for memory. The file is unlinked when this returns, and its
  /// space is freed when the last reader closes it.
  /// - Parameters:
  ///   - source: the file it reads, for messages.
  ///   - maximumBytes: the most output that the input can plausibly produce. The program is stopped when it writes
  ///     more.
  ///   - arguments: its arguments, given the path of the output.
  /// - Throws: `SwiftletError` if the program is missing, fails, or writes too much.
  package func bytes(
    from source: String, maximumBytes: Int = .max, arguments: (_ output: String) -> [String]
  ) throws(SwiftletError) -> FileBytes {
    let place = FileLocation(file: source)
    guard let path else {
      throw SwiftletError.data("this file needs the program \(name), which is not installed; \(remedy)", at: place)
    }
    do {
      return try FinishedProgram.run(path, arguments: arguments) { process, output in
        try Self.watch(&process, output: output, maximumBytes: maximumBytes, at: place)
      } _: { finished in
        guard finished.status == 0 else {
          let line = finished.messages.first ?? "status \(finished.status)"
          throw SwiftletError.data("\(name) failed: \(line.escapedLine(limit: 300))", at: place)
        }
        return try FileBytes(path: finished.output.path, name: source)
      }
    } catch {
      throw error as? SwiftletError
        ?? SwiftletError.data("\(name) cannot be started: \((error as? FileFailure)?.reason ?? "\(error)")", at: place)
    }
  }

  /// Waits until the process ends, and stops it if its output grows beyond `maximumBytes`.
  private static func watch(
    _ process: inout ChildProcess, output: URL, maximumBytes: Int, at place: FileLocation
  ) throws(SwiftletError) {
    guard maximumBytes < .max else { return }
    func isTooLong() -> Bool { fileSize(atPath: output.path) ?? 0 > maximumBytes }
    while process.isRunning(), !isTooLong() { usleep(5_000) }
    // Also if it ended between two looks.
    guard isTooLong() else { return }
    if process.isRunning() { process.terminate() }
    _ = process.wait()
    throw SwiftletError.data(
      "the file decompresses to more than \(maximumBytes >> 20) MB; it is damaged, so download it again", at: place)
  }

  /// The result of an SQL query in DuckDB. Error messages call it `source`.
  static func query(_ sql: String, source: String, folder: String? = nil) throws(SwiftletError) -> any RowSource {
    let temporary = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-duckdb").path
    var settings = ["enable_progress_bar = false", "temp_directory = '\(quoted(temporary))'"]
    if let folder { settings.append("file_search_path = '\(quoted(folder))'") }
    // Each thread holds a row group of a Parquet file in memory, often 100 MB.
    let lowMemory = settings + ["threads = 1", "memory_limit = '512MB'"]
    let bytes: FileBytes
    do {
      bytes = try run(sql, source, lowMemory)
    } catch  where error.reason.contains("Out of Memory") {
      bytes = try run(sql, source, settings)
    }
    return NumberedRows(try JSONRows.open(bytes, isLines: true), file: source)
  }

  private static func run(_ sql: String, _ source: String, _ settings: [String]) throws(SwiftletError) -> FileBytes {
    try duckDB.bytes(from: source) { output in
      let copy = "COPY (\(sql)\n) TO '\(quoted(output))' (FORMAT json);"
      return ["-init", "/dev/null", "-bail", "-c", settings.map { "SET \($0); " }.joined() + copy]
    }
  }

  /// The text with quotes escaped for a single-quoted SQL string.
  static func quoted(_ text: String) -> String { text.replacing("'", with: "''") }
}

/// Rows of a file without lines. Their locations are row numbers.
private struct NumberedRows: RowSource {
  private let base: any RowSource
  private let file: String

  init(_ base: any RowSource, file: String) {
    self.base = base
    self.file = file
  }

  var count: Int { base.count }

  func row(at index: Int) throws(SwiftletError) -> Row {
    do {
      return try base.row(at: index)
    } catch {
      throw error.relocated(to: location(of: index))
    }
  }

  func location(of index: Int) -> FileLocation { FileLocation(file: file, row: index + 1) }

  func fingerprint() throws(SwiftletError) -> String { try base.fingerprint() }

  var notes: [String] { base.notes }
}
