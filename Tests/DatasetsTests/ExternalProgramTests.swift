import Diagnostics
import Datasets
import Foundation
import OrderedJSON
import TestSupport
import Testing

/// Files that need a command-line program. If it is not installed, the tests check the error message.
@Suite struct ExternalProgramTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func path(of program: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  private func compress(_ path: String, with program: String) async throws {
    let outcome = try await Program.run(try #require(Self.path(of: program)), ["-q", path], in: scratch.folder)
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  @Test(arguments: [("gzip", "gz"), ("zstd", "zst")])
  func compressed(_ program: String, _ ending: String) async throws {
    let name = "it's 行.jsonl"
    let path = try scratch.write(name, "{\"a\": 1}\n\n{\"a\": \"佢\"}\n{\n")
    guard Self.path(of: program) != nil else {
      let bytes = try scratch.write("a.jsonl.\(ending)", "")
      #expect(throws: SwiftletError.self) { try DataFile.open(bytes) }
      return
    }
    try await compress(path, with: program)
    let rows = try DataFile.open("\(path).\(ending)")
    #expect(try rows.rows(0..<2).map { JSONValue.object($0).text() } == [#"{"a": 1}"#, #"{"a": "佢"}"#])
    #expect(rows.location(of: 2).description == "\(path).\(ending), line 4")
    #expect(throws: SwiftletError.self) { try rows.row(at: 2) }

    let broken = try scratch.write("broken.csv.\(ending)", "no such thing")
    do throws(SwiftletError) {
      _ = try DataFile.open(broken)
      Issue.record("the file is not compressed")
    } catch {
      #expect(error.description.hasPrefix("\(broken): the file is not compressed with \(program)"))
    }
  }

  @Test(arguments: [("gzip", "gz"), ("zstd", "zst")])
  func damagedCompression(_ program: String, _ ending: String) async throws {
    guard Self.path(of: program) != nil else { return }
    let path = try scratch.write("rows.csv", "a,b\n" + String(repeating: "1,some text\n", count: 500))
    try await compress(path, with: program)
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(path).\(ending)")))
    // The magic numbers of older formats that gzip reads as well: compress, pack and LZH.
    for magic: [UInt8] in [[0x1F, 0x9D], [0x1F, 0x1E], [0x1F, 0xA0]] {
      let other = scratch.folder.appendingPathComponent("other.csv.\(ending)")
      try Data(magic + bytes.dropFirst(2)).write(to: other)
      #expect(throws: SwiftletError.self) { try DataFile.open(other.path) }
    }
    bytes.removeLast(bytes.count / 2)
    let half = scratch.folder.appendingPathComponent("half.csv.\(ending)")
    try Data(bytes).write(to: half)
    do throws(SwiftletError) {
      _ = try DataFile.open(half.path)
      Issue.record("half a file was opened")
    } catch {
      #expect(error.description.hasPrefix("\(half.path): \(program) failed: "))
    }
  }

  @Test func outputIsBounded() async throws {
    guard Self.path(of: "gzip") != nil else { return }
    let path = try scratch.write("zeros.txt", String(repeating: "0", count: 1 << 20))
    try await compress(path, with: "gzip")
    #expect(throws: SwiftletError.self) {
      try ExternalProgram.gzip.bytes(from: path, maximumBytes: 1000) { _ in ["-dc", "--", "\(path).gz"] }
    }
  }

  @Test func parquet() throws {
    let path = Goldens.folder.appendingPathComponent("rows.parquet").path
    let expected = [
      #"{"n": 1, "messages": [{"role": "user", "content": "佢🙂"}, {"role": "assistant", "content": "it's"}], "x": null}"#,
      #"{"n": 2, "messages": [{"role": "user", "content": "two\nlines"}], "x": 0.5}"#,
    ]
    do throws(SwiftletError) {
      let rows = try DataFile.open(path)
      #expect(try rows.allRows().map { JSONValue.object($0).text() } == expected)
      #expect(rows.location(of: 1).description == "\(path), row 2")
      let query = try DataFile.query("SELECT n, len(messages) AS turns FROM '\(path)' ORDER BY n DESC -- all;\n;")
      #expect(
        try query.allRows().map { JSONValue.object($0).text() } == [
          #"{"n": 2, "turns": 1}"#, #"{"n": 1, "turns": 2}"#,
        ])
    } catch {
      #expect(Self.path(of: "duckdb") == nil, "\(error)")
      #expect(
        error.description
          == "\(path): this file needs the program duckdb, which is not installed; install it with pip install duckdb-cli"
      )
    }
    #expect(throws: SwiftletError.self) { try DataFile.query("SELECT nothing FROM nowhere") }
  }
}
