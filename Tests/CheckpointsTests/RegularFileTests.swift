import Checkpoints
import Diagnostics
import Foundation
import Testing

struct RegularFileTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func readsWholeFiles() throws {
    for count in [0, 1, 65_536, 200_001] {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
      #expect(try RegularFile.contents(of: folder.file("f", bytes)) == bytes)
    }
    let link = folder.url.appending(path: "link")
    try FileManager.default.createSymbolicLink(at: link, withDestinationURL: folder.url.appending(path: "f"))
    #expect(try RegularFile.contents(of: link).count == 200_001)
    #expect(RegularFile.exists(atPath: link.path) && !RegularFile.exists(atPath: folder.url.path))
  }

  /// None of these may block: nobody writes to the FIFO, and /dev/zero never ends.
  @Test func refusesEverythingElseImmediately() throws {
    let fifo = folder.url.appending(path: "model.safetensors")
    #expect(mkfifo(fifo.path, 0o600) == 0)
    let cases: [(URL, String)] = [
      (fifo, "is a FIFO, not a regular file"), (folder.url, "is a directory, not a regular file"),
      (URL(filePath: "/dev/zero"), "is a device, not a regular file"),
      (folder.url.appending(path: "none"), "could not be opened: No such file or directory; check the path"),
      (fifo.appending(path: "x"), "check the path"),
    ]
    for (url, reason) in cases {
      expectError(reason) { _ = try RegularFile.contents(of: url) }
      expectError(reason) { _ = try RegularFile.handle(forReadingFrom: url) }
      expectError(reason) { try RegularFile.require(atPath: url.path) }
      expectError(reason) { _ = try MappedFile(url) }
      expectError(reason) { _ = try GGUFFile(contentsOf: url) }
    }
    expectError("is a FIFO") { _ = try SafetensorsCheckpoint(contentsOf: fifo) }
    let index = folder.url.appending(path: "model.safetensors.index.json")
    #expect(mkfifo(index.path, 0o600) == 0)
    expectError("is a FIFO") { _ = try SafetensorsCheckpoint(contentsOf: index) }
    #expect(ContentHash.ofFile(fifo.path) == nil)
  }

  @Test func limitsTheSize() throws {
    let file = try folder.file("f", [UInt8](repeating: 1, count: 11))
    #expect(try RegularFile.contents(of: file, sizeLimit: 11).count == 11)
    expectError("is larger than 10 bytes") { _ = try RegularFile.contents(of: file, sizeLimit: 10) }
    let error = #expect(throws: SwiftletError.self) {
      try RegularFile.contents(of: file, sizeLimit: 0, domain: .tokenizer)
    }
    #expect(error?.domain == .tokenizer && error?.location.file == file.path)
  }
}
