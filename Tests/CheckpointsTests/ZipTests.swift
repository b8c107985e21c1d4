import Diagnostics
import CZip
import Checkpoints
import Foundation
import Testing

struct ZipTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func theArchiveContainsTheFolder() throws {
    let model = folder.url.appending(path: "model")
    try FileManager.default.createDirectory(at: model.appending(path: "more"), withIntermediateDirectories: true)
    let files: [(name: String, bytes: [UInt8])] = [
      ("config.json", Array(String(repeating: "{\"a\": 1}\n", count: 500).utf8)), ("empty", []),
      ("model.safetensors", (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 37) }), ("more/\u{4F60}.txt", [1, 2]),
    ]
    for file in files { try Data(file.bytes).write(to: model.appending(path: file.name)) }
    let url = folder.url.appending(path: "model.zip")
    try Data("what was there before".utf8).write(to: url)
    var shares: [Double] = []
    try ZipArchive.write(folder: model, to: url) { shares.append($0) }
    #expect(shares.last == 1 && shares == shares.sorted())
    #expect(try folder.contents == ["model", "model.zip"])

    var code: Int32 = 0
    let archive = try #require(zip_open(url.path, ZIP_RDONLY, &code))
    defer { zip_discard(archive) }
    #expect(zip_get_num_entries(archive, 0) == Int64(files.count))
    for file in files {
      var status = zip_stat_t()
      try #require(zip_stat(archive, "model/\(file.name)", 0, &status) == 0, "\(file.name)")
      #expect(status.size == UInt64(file.bytes.count))
      if file.bytes.count > 1000 {
        let isWeights = file.name == "model.safetensors"
        #expect(status.comp_method == UInt16(isWeights ? ZIP_CM_STORE : ZIP_CM_DEFLATE), "\(file.name)")
      }
      let entry = try #require(zip_fopen(archive, "model/\(file.name)", 0))
      var content = [UInt8](repeating: 0, count: file.bytes.count)
      #expect(zip_fread(entry, &content, UInt64(content.count)) == Int64(content.count))
      zip_fclose(entry)
      #expect(content == file.bytes, "\(file.name)")
    }
  }

  @Test func failuresAreOneSentence() throws {
    let nowhere = folder.url.appending(path: "missing/a.zip")
    try Data([1]).write(to: folder.url.appending(path: "a"))
    #expect(throws: SwiftletError.self) { try ZipArchive.write(folder: folder.url, to: nowhere) }
    let missing = folder.url.appending(path: "missing")
    #expect(throws: SwiftletError.self) {
      try ZipArchive.write(folder: missing, to: folder.url.appending(path: "a.zip"))
    }
  }
}
