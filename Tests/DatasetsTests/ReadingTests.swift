import Diagnostics
import Datasets
import Foundation
import OrderedJSON
import Testing

/// A temporary folder for one test.
final class Scratch {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("datasets-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// Writes a file and returns its path.
  func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
    let file = folder.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: file)
    return file.path
  }

  func write(_ name: String, _ text: String) throws -> String { try write(name, text.utf8) }
}

@Suite struct ReadingTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Lines are counted in blocks.
  @Test func rowsOfLargeFilesHaveTheirLines() throws {
    let line = "{\"text\": \"\(String(repeating: "x", count: 3000))\"}\n"
    let text = (0..<500).map { $0 % 7 == 0 ? "\n" + line : line }.joined()
    let rows = try DataFile.open(try scratch.write("large.jsonl", text))
    for index in [0, 1, 20, 21, 22, 250, 499] {
      #expect(rows.location(of: index).line == index + 1 + (index / 7 + 1), "row \(index)")
    }
  }

  private func rows(_ name: String, _ text: String) throws -> [String] {
    try DataFile.open(try scratch.write(name, text)).allRows().map { JSONValue.object($0).text() }
  }

  private func failure(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
    let path = try scratch.write(name, bytes)
    do throws(SwiftletError) {
      _ = try DataFile.open(path).allRows()
      return "no error"
    } catch {
      return error.description.replacingOccurrences(of: scratch.folder.path + "/", with: "")
    }
  }

  @Test func matchesDatasets() throws {
    for example in try #require(try Goldens.load("files.json").array) {
      let name = try #require(example["name"]?.string)
      let expected = try #require(example["rows"]?.array).map { $0.text() }
      #expect(try rows(name, try #require(example["text"]?.string)) == expected, "\(name)")
    }
  }

  @Test func jsonLines() throws {
    let expected = [#"{"b": 1, "a": "佢🙂"}"#, #"{"b": 2.5, "a": null}"#]
    let lines = "{\"b\": 1, \"a\": \"佢🙂\"}\r\n\n  {\"b\": 2.5, \"a\": null}"
    #expect(try rows("a.jsonl", lines) == expected)
    #expect(try rows("a.json", lines + "\n") == expected)
    #expect(try rows("bom.jsonl", "\u{FEFF}" + lines) == expected)
    #expect(try rows("empty.jsonl", " \n\n") == [])
  }

  @Test func jsonDocuments() throws {
    let expected = [#"{"a": 1, "b": [{"x": "]"}]}"#, #"{"a": 2, "b": []}"#]
    let array = "[\n {\"a\":1,\"b\":[{\"x\":\"]\"}]} ,\n {\"a\":2,\"b\":[]}\n]\n"
    #expect(try rows("array.json", array) == expected)
    #expect(try rows("array.jsonl", array) == expected)
    #expect(try rows("data.json", #"{"version": 1, "data": \#(array)}"#) == expected)
    #expect(try rows("columns.json", #"{"a": [1, 2], "b": [[{"x": "]"}], []]}"#) == expected)
    #expect(try rows("none.json", "[ ]") == [])
    #expect(try rows("texts.json", #"["one", "tw\"o"]"#) == [#"{"text": "one"}"#, #"{"text": "tw\"o"}"#])
    let conversation = #"{"messages": [{"role": "user", "content": "Hi"}]}"#
    #expect(try rows("one.json", conversation) == [conversation])
  }

  @Test func csvFiles() throws {
    let text =
      "name,n,x,flag,words\r\n\"Ann, \"\"A\"\"\",1,0.5,True,\"two\nlines\"\r\n\r\nBob,2,NA,False,NA\r\nCy,3\r\n"
    #expect(
      try rows("a.csv", text) == [
        #"{"name": "Ann, \"A\"", "n": 1, "x": 0.5, "flag": true, "words": "two\nlines"}"#,
        #"{"name": "Bob", "n": 2, "x": null, "flag": false, "words": "NA"}"#,
        #"{"name": "Cy", "n": 3, "x": null, "flag": null, "words": null}"#,
      ])
    #expect(
      try rows("gap.csv", "a,a,\n1,2,3\n,5,6") == [
        #"{"a": 1.0, "a.1": 2, "Unnamed: 2": 3}"#, #"{"a": null, "a.1": 5, "Unnamed: 2": 6}"#,
      ])
    // A header with thousands of equal or empty names takes linear time.
    let wide = try #require(rows("wide.csv", String(repeating: "a,", count: 20_000) + "a.7\n1\n").first)
    #expect(wide.contains(#""a.19999": null, "a.7.1": null"#))
    #expect(try rows("t.tsv", "\u{FEFF}x\ty\nsay \"hi\"\t1e3\n") == [#"{"x": "say \"hi\"", "y": 1000.0}"#])
    #expect(try rows("head.csv", "a,b\n") == [])
    #expect(try rows("none.csv", "") == [])
  }

  @Test func plainText() throws {
    #expect(
      try rows("a.txt", "one\n\n 三 \r\nfour\rfive") == [
        #"{"text": "one"}"#, #"{"text": ""}"#, #"{"text": " 三 "}"#, #"{"text": "four"}"#, #"{"text": "five"}"#,
      ])
    #expect(try rows("b.txt", "one\r\n") == [#"{"text": "one"}"#])
  }

  @Test func rowsLargerThanTheWindow() throws {
    let long = String(repeating: "字", count: 50_000)
    let lines = (0..<40).map { #"{"i": \#($0), "text": "\#($0 % 7 == 3 ? long : "short")"}"# }
    let source = try DataFile.open(try scratch.write("long.jsonl", lines.joined(separator: "\n")))
    #expect(source.count == 40)
    for index in [39, 3, 0, 10, 11, 38] {
      let row = try source.row(at: index)
      #expect(row["i"]?.integer == index)
      #expect(row["text"]?.string?.unicodeScalars.count == (index % 7 == 3 ? 50_000 : 5))
    }
  }

  @Test func errorsHaveLocations() throws {
    #expect(
      try failure("a.jsonl", "{\"a\": 1}\n\n{\"a\": \n{\"a\": 3}".utf8)
        == "a.jsonl, line 3: unexpected end of text, expected a value; each line of JSON Lines must be one complete object"
    )
    #expect(
      try failure("b.jsonl", "{\"a\": 1}\n[1]".utf8)
        == "b.jsonl, line 2: expected an object with the columns of a row, found an array")
    #expect(
      try failure("c.json", "[{\"a\": 1},\n {\"a\":\n tru}]".utf8)
        == "c.json, line 3: expected a value in this element of the array")
    #expect(
      try failure("d.json", "[{\"a\": 1}, {\"a\"".utf8)
        == "d.json: the file ends inside its array; it is truncated, so download or save it again")
    #expect(
      try failure("e.csv", "a,b\n1,2\n1,2,3\n".utf8)
        == "e.csv, line 3: 3 fields, but the header names 2; quote fields that contain the separator")
    #expect(
      try failure("f.csv", "a,b\n1,2\n\"1,2\n3,4\n".utf8)
        == "f.csv, line 3: a quoted field that starts in this record never ends; double the quotation marks inside it")
    #expect(
      try failure("g.txt", [0x61, 0x0A, 0xFF, 0x0A])
        == "g.txt, line 2: the line is not valid UTF-8; save the file as UTF-8")
    #expect(try failure("h.jsonl", [0xFF, 0xFE, 0x7B, 0]) == "h.jsonl: the file is UTF-16; save it as UTF-8")
    #expect(
      try failure("i.doc", [])
        == "i.doc: the name of a data file must end in .json, .jsonl, .ndjson, .csv, .tsv, .txt, .parquet; "
        + "rename the file if it has one of these formats")
    #expect(throws: SwiftletError.self) { try DataFile.open(scratch.folder.appendingPathComponent("gone.csv").path) }
  }

  @Test(.timeLimit(.minutes(1))) func pipesAndDevicesAreRejected() throws {
    for name in ["pipe.jsonl", "pipe.csv.gz", "pipe.json.zst", "pipe.parquet"] {
      let path = scratch.folder.appendingPathComponent(name).path
      #expect(mkfifo(path, 0o600) == 0)
      do throws(SwiftletError) {
        _ = try DataFile.open(path)
        Issue.record("\(name) was opened")
      } catch {
        #expect(error.reason.contains("only regular files can be read"), "\(error)")
      }
    }
    let device = scratch.folder.appendingPathComponent("zero.csv").path
    try FileManager.default.createSymbolicLink(atPath: device, withDestinationPath: "/dev/zero")
    #expect(throws: SwiftletError.self) { try DataFile.open(device) }
  }

  @Test func textThatLooksLikeJSON() throws {
    for (text, isNoted) in [
      ("[\n  {\"a\": 1}\n]", true), ("{\"a\": 1}\n{\"a\": 2}", true), ("[1] a list\n", false), ("{name} said\n", false),
      ("", false), ("\u{FEFF} {\n \"a\": 1}", true),
    ] {
      let rows = try DataFile.open(try scratch.write("rows.txt", text))
      #expect(rows.notes.contains { $0.contains("looks like JSON") } == isNoted, "\(text)")
      let step = try rows.applying([.select(0..<9), .template(column: "text", try TextPattern("{text}"))])
      #expect(ConcatenatedRows([step]).notes == rows.notes)
    }
  }

  @Test func foldersAndSplits() throws {
    for name in ["train.jsonl", "test.jsonl", "notes.md", "config.json", ".hidden.jsonl"] {
      _ = try scratch.write(
        "set/\(name)", (0..<10).map { "{\"file\": \"\(name)\", \"i\": \($0)}" }.joined(separator: "\n"))
    }
    let folder = scratch.folder.appendingPathComponent("set").path
    func read(_ split: String, _ files: [String] = []) throws -> [String] {
      try DataFile.open(folder, split: split, files: files.isEmpty ? [:] : ["train": files]).allRows().map {
        "\($0["file"]?.string?.first.map(String.init) ?? "")\($0["i"]?.integer ?? -1)"
      }
    }
    #expect(try read("train").count == 10)
    #expect(try read("train[:2]") == ["t0", "t1"])
    #expect(try read("train[25%:50%]") == ["t2", "t3", "t4"])
    #expect(try read("test[-1:]") == ["t9"])
    #expect(try read("train", ["test.jsonl", "config.json"]).count == 20)
    #expect(try read("train", ["t*t.js?nl"]).first == "t0")
    #expect(try read("train[:1] + test[:2]") == ["t0", "t0", "t1"])
    #expect(throws: SwiftletError.self) { try read("train", ["*.csv"]) }
    #expect(throws: SwiftletError.self) { try read("test", ["train.jsonl"]) }
    do {
      _ = try read("validation")
      Issue.record("there is no such split")
    } catch let error as SwiftletError {
      #expect(error.reason == "there is no split \"validation\"; the splits are train, test")
    }
    for name in ["data/train-00000-of-00002.csv", "data/train-00001-of-00002.csv", "data/test_gen-00000-of-00001.csv"] {
      _ = try scratch.write("shards/\(name)", "a\n1\n2\n")
    }
    let shards = scratch.folder.appendingPathComponent("shards").path
    #expect(try DataFile.open(shards).count == 4)
    #expect(try DataFile.open(shards, split: "test_gen").count == 2)
    for pattern in ["data/*", "**/*.csv", "data/t[er]*.csv"] {
      #expect(try DataFile.open(shards, files: ["train": [pattern]]).count == 6, "\(pattern)")
    }
    #expect(throws: SwiftletError.self) { try DataFile.open(shards, files: ["train": ["*.csv"]]) }
    #expect(throws: SwiftletError.self) { try DataFile.open(shards + "/data/train-00000-of-00002.csv", split: "test") }
    for root in ["/", "//", "/."] { #expect(throws: SwiftletError.self) { try DataFile.open(root) } }
  }
}
