import Diagnostics
import Foundation

/// A program of the system that turns a file into rows we can read.
struct ExternalProgram: Sendable {
  /// Its name, as it is typed.
  let name: String
  /// How to come by it.
  let remedy: String

  static let duckDB = ExternalProgram(name: "duckdb", remedy: "install it with pip install duckdb-cli")
  static let gzip = ExternalProgram(name: "gzip", remedy: "install it with the system's package manager")
  static let zstandard = ExternalProgram(name: "zstd", remedy: "install it with the system's package manager")

  /// Where it is, by the search path.
  var path: String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    return folders.map { $0 + "/" + name }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Runs the program with its standard output going to a new temporary file, and gives that file's bytes.
  ///
  /// The output goes to disk and not through memory, so its size does not matter. The file has no name any more when
  /// this returns, and goes when the last reader does.
  /// - Parameters:
  ///   - arguments: its arguments, given the output's path.
  ///   - source: the file it reads, for messages.
  func bytes(from source: String, arguments: (_ output: String) -> [String]) throws(SwiftletError) -> FileBytes {
    let place = FileLocation(file: source)
    guard let path else {
      throw SwiftletError.data("reading this needs the program \(name), which is not found; \(remedy)", at: place)
    }
    let folder = FileManager.default.temporaryDirectory
    let output = folder.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    let complaints = folder.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    defer {
      try? FileManager.default.removeItem(at: output)
      try? FileManager.default.removeItem(at: complaints)
    }
    do {
      try Data().write(to: output)
      try Data().write(to: complaints)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: path)
      process.arguments = arguments(output.path)
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try FileHandle(forWritingTo: output)
      process.standardError = try FileHandle(forWritingTo: complaints)
      try process.run()
      process.waitUntilExit()
      guard process.terminationReason == .exit, process.terminationStatus == 0 else {
        let said = (try? String(contentsOf: complaints, encoding: .utf8)) ?? ""
        let line = said.split(whereSeparator: \.isNewline).map(String.init).first { !$0.allSatisfy(\.isWhitespace) }
        throw SwiftletError.data(
          "\(name) could not read it: \(line ?? "status \(process.terminationStatus)")", at: place)
      }
    } catch {
      throw error as? SwiftletError
        ?? SwiftletError.data("\(name) cannot be run: \(error.localizedDescription)", at: place)
    }
    return try FileBytes(path: output.path, name: source)
  }

  /// The rows of an SQL query, as DuckDB answers it; `source` is what messages name.
  static func query(_ sql: String, source: String, folder: String? = nil) throws(SwiftletError) -> any RowSource {
    let temporary = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-duckdb").path
    var settings = ["enable_progress_bar = false", "temp_directory = '\(quoted(temporary))'"]
    if let folder { settings.append("file_search_path = '\(quoted(folder))'") }
    // One thread holds one group of a file's rows, often a hundred megabytes.
    let frugal = settings + ["threads = 1", "memory_limit = '512MB'"]
    let bytes: FileBytes
    do {
      bytes = try answer(sql, source, frugal)
    } catch  where error.reason.contains("Out of Memory") {
      bytes = try answer(sql, source, settings)
    }
    return NumberedRows(try JSONRows.open(bytes, isLines: true), file: source)
  }

  private static func answer(_ sql: String, _ source: String, _ settings: [String]) throws(SwiftletError) -> FileBytes {
    try duckDB.bytes(from: source) { output in
      let copy = "COPY (\(sql)\n) TO '\(quoted(output))' (FORMAT json);"
      return ["-init", "/dev/null", "-bail", "-c", settings.map { "SET \($0); " }.joined() + copy]
    }
  }

  /// Text between single quotes of SQL.
  static func quoted(_ text: String) -> String { text.replacingOccurrences(of: "'", with: "''") }
}

/// Rows from a file that has no lines of its own: their places are row numbers.
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
}
