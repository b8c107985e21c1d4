import Foundation
import TestSupport
import Testing

/// `swiftlet pull`, from a server on this machine.
@Suite struct DownloadTests {
  /// The progress ends with a line of its own before the path follows.
  @Test(.timeLimit(.minutes(1))) func progressEndsBeforeTheResult() async throws {
    let repository = FakeRepository.model()
    let server = try await LoopbackServer(repository.answer)
    let workspace = try Workspace()
    let environment = ["HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0"]
    let first = try await workspace.run("pull", "org/name", environment: environment)
    #expect(first.text().hasSuffix("/snapshots/\(FakeRepository.commit)\n"))
    let last = try #require(first.errors.split(separator: "\n").last)
    #expect(last.hasPrefix("downloading") && last.contains("  in "), "\(first.errors)")
    // Nothing is left to download.
    let second = try await workspace.run("pull", "org/name", environment: environment)
    #expect(second.text() == first.output && second.errors == "")
  }
}
