import Foundation
import Swiftlet
import TestSupport
import Testing

/// `Dataset(hub:)` against a hub on the loopback address.
@Suite struct HubDatasetTests {
  private static let rows = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n{\"text\":\"d\"}\n"

  @Test func rowsAreDownloadedOnce() async throws {
    let repository = FakeRepository(
      ["data/train.jsonl": Array(Self.rows.utf8), "data/test.jsonl": Array("{\"text\":\"e\"}\n".utf8)],
      prefix: "/datasets")
    let server = try await LoopbackServer(repository.answer)
    let cache = try TemporaryCache()
    let environment = ["HF_ENDPOINT": server.address, "HF_HUB_CACHE": cache.url.path]
    let train = try await Dataset(hub: "org/name", split: "train[:50%]", environment: environment)
    #expect(try await train.rows().map { $0["text"] } == ["a", "b"])
    #expect(train.name == "org/name" && !server.requests.isEmpty)
    server.stop()
    let test = try await Dataset(hub: "org/name", split: "test", environment: environment)
    #expect(try await test.rows().map { $0["text"] } == ["e"])
  }

  @Test func aMissingDatasetIsNamed() async throws {
    let server = try await LoopbackServer { _ in .status(404) }
    let cache = try TemporaryCache()
    let error = await #expect(throws: SwiftletError.self) {
      _ = try await Dataset(
        hub: "org/nothing", environment: ["HF_ENDPOINT": server.address, "HF_HUB_CACHE": cache.url.path])
    }
    #expect(error.map { "\($0)" }?.contains("org/nothing") == true)
    await #expect(throws: SwiftletError.self) { _ = try await Dataset(hub: "no-slash", environment: [:]) }
  }
}
