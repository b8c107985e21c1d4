import Diagnostics
import Foundation
import Hub
import TestSupport
import Testing

/// Whether a cached snapshot has what a command needs.
@Suite(.timeLimit(.minutes(1)))
struct CompletenessTests {
  let cache: TemporaryCache
  let name: RepositoryID

  init() throws {
    cache = try TemporaryCache()
    name = try RepositoryID("org/name")
  }

  /// Puts files into the cache as Python's libraries do when they need no others.
  func preload(_ names: [String], of repository: FakeRepository, kind: String = "models") throws {
    let folder = cache.url.appending(path: "\(kind)--org--name")
    for name in names {
      let file = folder.appending(path: "snapshots/\(FakeRepository.commit)/\(name)")
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(repository.files[name] ?? []).write(to: file)
    }
    try FileManager.default.createDirectory(at: folder.appending(path: "refs"), withIntermediateDirectories: true)
    try FakeRepository.commit.write(to: folder.appending(path: "refs/main"), atomically: true, encoding: .utf8)
  }

  @Test(
    arguments: [
      (["config.json", "tokenizer.json", "tokenizer_config.json"], "lacks the weights"),
      (["config.json", "model.safetensors"], "lacks the tokenizer"),
      (["model.safetensors", "tokenizer.json"], "lacks config.json"), ([], "not in the cache"),
    ] as [([String], String)])
  func aPartialModelIsCompleted(cached: [String], problem: String) async throws {
    let repository = FakeRepository.model()
    let server = try await LoopbackServer(repository.answer)
    try preload(cached, of: repository)
    let hub = try hub(server, cache)
    let offline = try Hub(environment: ["HF_HUB_CACHE": cache.url.path, "HF_HUB_OFFLINE": "1"])
    #expect(try hub.cached(name) == nil)
    await expectError(problem) { _ = try await offline.snapshot(of: name) }
    repository.failAlways(.get, "list") { _ in .status(503) }
    await expectError("cannot download from") { _ = try await hub.snapshot(of: name) }
    repository.restore()
    let snapshot = try await hub.snapshot(of: name)
    let names = try FileManager.default.contentsOfDirectory(atPath: snapshot.path).sorted()
    #expect(names == SnapshotTests.wanted)
    #expect(try hub.cached(name) == snapshot)
    #expect(try await offline.snapshot(of: name) == snapshot)
  }

  @Test func aModelOfPythonsCacheNeedsNoService() async throws {
    try preload(["config.json", "tokenizer.json", "model.safetensors"], of: .model())
    let hub = try Hub(environment: ["HF_HUB_CACHE": cache.url.path, "HF_ENDPOINT": "http://127.0.0.1:1"])
    #expect(try hub.cached(name)?.lastPathComponent == FakeRepository.commit)
  }

  @Test func theDescriptionNeedsNoWeights() async throws {
    let repository = FakeRepository.model()
    let server = try await LoopbackServer(repository.answer)
    let hub = try hub(server, cache)
    let snapshot = try await hub.snapshot(of: name, files: .modelDescription)
    #expect(!FileManager.default.fileExists(atPath: snapshot.appending(path: "model.safetensors").path))
    #expect(try hub.cached(name, files: .modelDescription) == snapshot)
    #expect(try hub.cached(name) == nil)
    #expect(try await hub.snapshot(of: name) == snapshot)
    #expect(try hub.cached(name) == snapshot)
  }

  @Test func aPartialDatasetIsCompleted() async throws {
    let repository = FakeRepository(["test.jsonl": [1], "train.jsonl": [2, 3]], prefix: "/datasets")
    let server = try await LoopbackServer(repository.answer)
    try preload(["test.jsonl"], of: repository, kind: "datasets")
    let hub = try hub(server, cache)
    let offline = try Hub(environment: ["HF_HUB_CACHE": cache.url.path, "HF_HUB_OFFLINE": "1"])
    // Nothing tells that there is another split.
    #expect(try hub.cached(name, kind: .dataset) == nil)
    let snapshot = try await offline.snapshot(of: name, kind: .dataset)
    #expect(try await hub.snapshot(of: name, kind: .dataset) == snapshot)
    #expect(try Data(contentsOf: snapshot.appending(path: "train.jsonl")) == Data([2, 3]))
    #expect(try hub.cached(name, kind: .dataset) == snapshot)
    try FileManager.default.removeItem(at: snapshot.appending(path: "train.jsonl"))
    await expectError("lacks train.jsonl") { _ = try await offline.snapshot(of: name, kind: .dataset) }
  }

  /// Shards by the names of Qwen3.5, of some converters, and of transformers.
  @Test(arguments: [
    ["model.safetensors-00001-of-00002.safetensors", "model.safetensors-00002-of-00002.safetensors"],
    ["shard_1.safetensors", "parts/shard_2.safetensors"],
    ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
  ])
  func theIndexNamesTheShards(shards: [String]) async throws {
    let index = #"{"metadata":{},"weight_map":{"a":"\#(shards[0])","b":"\#(shards[1])","c":"\#(shards[0])"}}"#
    var files: [String: [UInt8]] = [
      "config.json": [1], "tokenizer.json": [2], "model.safetensors.index.json": Array(index.utf8),
      "consolidated.safetensors": [3], "model-00003-of-00003.safetensors": [4],
    ]
    for shard in shards { files[shard] = Array(shard.utf8) }
    let repository = FakeRepository(files)
    let server = try await LoopbackServer(repository.answer)
    let hub = try hub(server, cache)
    let snapshot = try await hub.snapshot(of: name)
    for shard in shards {
      #expect(try Data(contentsOf: snapshot.appending(path: shard)) == Data(shard.utf8))
    }
    let fetched = Set(server.requests.filter { $0.method == "GET" }.map { $0.path.split(separator: "/").last ?? "" })
    #expect(fetched.count == 6 && !fetched.contains("consolidated.safetensors"))
    #expect(try hub.cached(name) == snapshot)
    try FileManager.default.removeItem(at: snapshot.appending(path: shards[1]))
    #expect(try hub.cached(name) == nil)
    // Without a recorded listing as well.
    try FileManager.default.removeItem(at: cache.url.appending(path: "models--org--name/.swiftlet"))
    #expect(try hub.cached(name) == nil)
  }

  @Test(arguments: [
    (#"{"weight_map":{"a":"none.safetensors"}}"#, "names the shard \"none.safetensors\""),
    (#"{"weight_map":{"a":"../../evil.safetensors"}}"#, "names the shard"), ("[]", "no weight_map"),
    ("", "no weight_map"),
  ])
  func badIndexes(index: String, reason: String) async throws {
    let repository = FakeRepository([
      "config.json": [1], "model.safetensors.index.json": Array(index.utf8), "model-1.safetensors": [3],
    ])
    let server = try await LoopbackServer(repository.answer)
    await expectError(reason) { _ = try await hub(server, cache).snapshot(of: name) }
  }
}
