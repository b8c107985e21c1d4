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

  @Test func replacesAsAWhole() throws {
    let target = folder.url.appending(path: "one")
    try make("one/old", "old")
    // What a killed process left.
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

  /// Whatever moment a process was killed at, each folder is there once and whole.
  @Test func recovers() throws {
    // While it was filled.
    try make(".one.partial/half")
    try make("one/a", "one")
    // Between its two renames.
    try make(".two.replaced/a", "two")
    try make(".two.partial/a", "newer")
    // After them.
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
