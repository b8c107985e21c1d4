import Checkpoints
import Foundation
import Testing

struct AtomicFolderTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func make(_ path: String, _ text: String = "x") throws {
    let url = folder.url.appending(path: path)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  private func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: folder.url.appending(path: path)), as: UTF8.self)
  }

  @Test func replacesAFolderAtomically() throws {
    let target = folder.url.appending(path: "one")
    try make("one/old", "old")
    // Left over from a killed process.
    try make(".one.partial/half")
    try AtomicFolder.write(target) { try Data("new".utf8).write(to: $0.appending(path: "new")) }
    #expect(try folder.contents == ["one"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: target.path) == ["new"])
    struct Failure: Error {}
    #expect(throws: Failure.self) {
      try AtomicFolder.write(target) {
        try Data("half".utf8).write(to: $0.appending(path: "half"))
        throw Failure()
      }
    }
    #expect(try folder.contents == ["one"] && text("one/new") == "new")
  }

  /// Whenever a process was killed, recovery leaves each folder once and complete.
  @Test func recoversFromEveryInterruption() throws {
    // Killed while filling the folder.
    try make(".one.partial/half")
    try make("one/a", "one")
    // Killed between the two renames.
    try make(".two.replaced/a", "two")
    try make(".two.partial/a", "newer")
    // Killed after the renames.
    try make("three/a", "three")
    try make(".three.replaced/a", "older")
    try make(".swiftlet-abc.tmp")
    try make(".other", "not ours")
    AtomicFolder.recover(in: folder.url)
    #expect(try folder.contents == [".other", "one", "three", "two"])
    for name in ["one", "two", "three"] { #expect(try text("\(name)/a") == name) }
    AtomicFolder.recover(in: folder.url.appending(path: "nowhere"))
  }
}
