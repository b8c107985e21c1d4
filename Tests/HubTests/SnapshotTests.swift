import Diagnostics
import Foundation
import Hub
import TestSupport
import Testing

/// A hub that uses the test's server and waits only briefly between attempts.
func hub(
  _ server: LoopbackServer, _ cache: TemporaryCache, attempts: Int = 4, silence: Duration = .seconds(10),
  _ more: [String: String] = [:]
) throws -> Hub {
  let environment = ["HF_ENDPOINT": server.address, "HF_HUB_CACHE": cache.url.path, "HOME": cache.url.path]
  return try Hub(environment: environment.merging(more) { $1 }).retrying(
    attempts: attempts, firstDelay: .milliseconds(1), longestDelay: .milliseconds(400), silence: silence)
}

func expectError(
  _ reason: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
  do {
    try await body()
    Issue.record("no error containing \"\(reason)\"", sourceLocation: sourceLocation)
  } catch {
    let text = "\(error)"
    #expect(error is SwiftletError && text.contains(reason), "\(text)", sourceLocation: sourceLocation)
    #expect(!text.contains("\n") && text.utf8.count < 800, "\(text)", sourceLocation: sourceLocation)
  }
}

@Suite(.timeLimit(.minutes(1)))
struct SnapshotTests {
  let cache: TemporaryCache
  let repository = FakeRepository.model()
  let server: LoopbackServer
  let name: RepositoryID

  init() async throws {
    cache = try TemporaryCache()
    server = try await LoopbackServer(repository.answer)
    name = try RepositoryID("org/name")
  }

  static let wanted = [
    "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
  ]

  /// Expects exactly the wanted files, with the right bytes.
  func expectComplete(_ snapshot: URL, sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: snapshot.path).sorted() == Self.wanted,
      sourceLocation: sourceLocation)
    for file in Self.wanted {
      let content = try Data(contentsOf: snapshot.appending(path: file))
      #expect(Array(content) == repository.files[file], "\(file)", sourceLocation: sourceLocation)
    }
  }

  var blobs: [String] {
    get throws { try cache.tree().filter { $0.contains("/blobs/") && !$0.contains(" -> ") } }
  }

  @Test func theCacheHasPythonsLayout() async throws {
    let snapshot = try await hub(server, cache).snapshot(of: name)
    try expectComplete(snapshot)
    let folder = "models--org--name"
    let etags = Self.wanted.map { ($0, FakeRepository.etag($0, repository.files[$0] ?? [])) }
    let expected =
      etags.map { "\(folder)/blobs/\($0.1)" } + ["\(folder)/refs/main"]
      + etags.map { "\(folder)/snapshots/\(FakeRepository.commit)/\($0.0) -> ../../blobs/\($0.1)" }
    #expect(try cache.tree().sorted() == expected.sorted())
    let ref = try String(contentsOf: cache.url.appending(path: "\(folder)/refs/main"), encoding: .utf8)
    #expect(ref == FakeRepository.commit)
    #expect(snapshot.path == cache.url.appending(path: "\(folder)/snapshots/\(FakeRepository.commit)").path)
  }

  @Test func cachedFilesAreNotDownloadedAgain() async throws {
    let hub = try hub(server, cache)
    #expect(try hub.cached(name) == nil)
    let snapshot = try await hub.snapshot(of: name)
    #expect(try hub.cached(name)?.path == snapshot.path)
    #expect(try hub.cached(name, revision: FakeRepository.commit)?.path == snapshot.path)
    server.forget()
    let progressed = Recorder(false)
    try expectComplete(try await hub.snapshot(of: name) { _ in progressed.withLock { $0 = true } })
    #expect(server.requests.map(\.path) == ["/api/models/org/name/revision/main"])
    #expect(!progressed.withLock { $0 })
  }

  @Test func aBrokenConnectionResumes() async throws {
    repository.fail(.get, "model.safetensors", { $0.with { $0.cut = 100_000 } }, { $0.with { $0.cut = 50_000 } })
    try expectComplete(try await hub(server, cache).snapshot(of: name))
    let starts = server.requests.filter { $0.method == "GET" && $0.path.hasSuffix("/model.safetensors") }
      .map { $0["Range"].flatMap { Int($0.dropFirst("bytes=".count).dropLast()) } ?? 0 }
    // Bytes that the client has not read when the connection is cut may be lost.
    #expect(starts.count == 3 && starts == starts.sorted() && starts.first == 0)
    #expect((1...100_000).contains(starts[1]) && starts[2] <= 150_000)
  }

  @Test func aLaterCallResumesAFailedDownload() async throws {
    repository.failAlways(.get, "model.safetensors") { $0.with { $0.cut = min(100_000, $0.body.count) } }
    repository.fail(.get, "list", { $0 })
    await expectError("check the network") {
      // With a single attempt allowed, even one that progressed is the last.
      _ = try await hub(server, cache, attempts: 1).snapshot(of: name)
    }
    let weights = FakeRepository.sha256(repository.files["model.safetensors"] ?? [])
    #expect(try blobs.contains { $0.hasSuffix("\(weights).incomplete") })
    #expect(try hub(server, cache).cached(name) == nil)
    repository.restore()
    server.forget()
    try expectComplete(try await hub(server, cache).snapshot(of: name))
    let request = server.requests.first { $0.method == "GET" && $0.path.hasSuffix("/model.safetensors") }
    let range = request?["Range"] ?? ""
    #expect(range.wholeMatch(of: /bytes=[0-9]+-/) != nil, "\(range)")
    #expect(try blobs.allSatisfy { !$0.hasSuffix(".incomplete") })
  }

  @Test func silentServersTimeOut() async throws {
    repository.fail(.get, "model.safetensors", { $0.with { $0.stall = 70_000 } })
    repository.fail(.get, "config.json", { $0.with { $0.stall = 0 } })
    try expectComplete(try await hub(server, cache, attempts: 10, silence: .milliseconds(400)).snapshot(of: name))
  }

  /// A server may ignore the range, refuse it, or grant another one.
  @Test func anUnexpectedRangeStartsOver() async throws {
    let content = repository.files["model.safetensors"] ?? []
    for change in [
      { _ in Answer(body: content) }, { _ in .status(416) },
      {
        $0.with { answer in
          answer.headers.removeAll { $0.0 == "Content-Range" }
          answer.headers.append(("Content-Range", "bytes 7-9/10"))
        }
      },
      { $0.with { answer in answer.headers.removeAll { $0.0 == "Content-Range" } } },
    ] as [@Sendable (Answer) -> Answer] {
      let cache = try TemporaryCache()
      repository.fail(.get, "model.safetensors", { $0.with { $0.cut = 4096 } }, change)
      try expectComplete(try await hub(server, cache).snapshot(of: name))
    }
  }

  @Test func wrongSizesAreErrors() async throws {
    let size: @Sendable (Int) -> @Sendable (Answer) -> Answer = { size in
      {
        $0.with { answer in
          answer.headers.removeAll { $0.0 == "X-Linked-Size" }
          answer.headers.append(("X-Linked-Size", "\(size)"))
        }
      }
    }
    repository.failAlways(.head, "model.safetensors", size(300_007))
    await expectError("of 300007") { _ = try await hub(server, cache).snapshot(of: name) }
    repository.failAlways(.head, "model.safetensors", size(299_999))
    await expectError("larger than the expected 299999 bytes") { _ = try await hub(server, cache).snapshot(of: name) }
    repository.failAlways(.head, "model.safetensors", size(.max))
    await expectError("needs 9223372036854 MB") { _ = try await hub(server, cache).snapshot(of: name) }
    let weights = FakeRepository.sha256(repository.files["model.safetensors"] ?? [])
    #expect(try !blobs.contains { $0.hasSuffix(weights) })
    // An invalid size is ignored.
    for text in ["-1", "many", "1e3", "99999999999999999999"] {
      repository.failAlways(.head, "model.safetensors") {
        $0.with { answer in
          answer.headers.removeAll { $0.0 == "X-Linked-Size" }
          answer.headers.append(("X-Linked-Size", text))
        }
      }
      try expectComplete(try await hub(server, try TemporaryCache()).snapshot(of: name))
    }
  }

  @Test(arguments: ["model.safetensors", "config.json"])
  func wrongContentIsRejected(file: String) async throws {
    let damage: @Sendable (Answer) -> Answer = { $0.with { $0.body[3] ^= 1 } }
    repository.fail(.get, file, damage)
    try expectComplete(try await hub(server, cache).snapshot(of: name))
    let other = try TemporaryCache()
    repository.failAlways(.get, file, damage)
    await expectError("the content does not match its hash") {
      _ = try await hub(server, other, attempts: 9).snapshot(of: name)
    }
    let etag = FakeRepository.etag(file, repository.files[file] ?? [])
    #expect(try !other.tree().contains { $0.contains(etag) })
  }

  @Test func retryAfterIsHonored() async throws {
    repository.fail(
      .get, "list", { _ in .status(429, [("Retry-After", "0.3")]) }, { _ in .status(503, [("Retry-After", "0.2")]) })
    let clock = ContinuousClock()
    let start = clock.now
    try expectComplete(try await hub(server, cache).snapshot(of: name))
    #expect(clock.now - start >= .milliseconds(500))
  }

  @Test func temporaryErrorsAreRetried() async throws {
    repository.fail(.get, "list", { _ in .status(503) }, { _ in .status(502) })
    repository.fail(.head, "config.json", { _ in .status(500) })
    repository.fail(.get, "tokenizer.json", { _ in .status(429, [("Retry-After", "soon")]) })
    try expectComplete(try await hub(server, cache).snapshot(of: name))
  }

  @Test func anOutageFallsBackToTheCache() async throws {
    let hub = try hub(server, cache, attempts: 3)
    repository.failAlways(.get, "list") { _ in .status(503) }
    await expectError("it answered 503") { _ = try await hub.snapshot(of: name) }
    #expect(server.requests.count == 3)
    repository.restore()
    try expectComplete(try await hub.snapshot(of: name))
    server.stop()
    try expectComplete(try await hub.snapshot(of: name))
    await expectError("org/other: cannot download from http://127.0.0.1") {
      _ = try await hub.snapshot(of: try RepositoryID("org/other"))
    }
  }

  @Test func offlineUsesOnlyTheCache() async throws {
    let offline = try hub(server, cache, ["HF_HUB_OFFLINE": "1"])
    await expectError("HF_HUB_OFFLINE is set") { _ = try await offline.snapshot(of: name) }
    try expectComplete(try await hub(server, cache).snapshot(of: name))
    server.forget()
    try expectComplete(try await offline.snapshot(of: name))
    #expect(server.requests.isEmpty)
    let weights = cache.url.appending(
      path: "models--org--name/blobs/\(FakeRepository.sha256(repository.files["model.safetensors"] ?? []))")
    try FileManager.default.removeItem(at: weights)
    await expectError("HF_HUB_OFFLINE is set") { _ = try await offline.snapshot(of: name) }
  }

  @Test func parallelCallsDownloadABlobOnce() async throws {
    async let first = hub(server, cache).snapshot(of: name)
    async let second = hub(server, cache).snapshot(of: name)
    for snapshot in try await [first, second] { try expectComplete(snapshot) }
    for file in Self.wanted {
      #expect(server.requests.filter { $0.method == "GET" && $0.path.hasSuffix("/\(file)") }.count == 1, "\(file)")
    }
  }

  @Test func progressAddsUp() async throws {
    repository.fail(.get, "model.safetensors", { $0.with { $0.cut = 100_000 } })
    let reports = Recorder<[HubProgress]>([])
    _ = try await hub(server, cache).snapshot(of: name) { report in reports.withLock { $0.append(report) } }
    let total = Self.wanted.reduce(0) { $0 + (repository.files[$1]?.count ?? 0) }
    let all = reports.withLock { $0 }
    #expect(all.last?.totalReceived == total)
    #expect(all.allSatisfy { $0.totalSize == total && $0.totalReceived <= total })
    #expect(Set(all.filter { $0.received == $0.size }.map(\.file)) == Set(Self.wanted))
  }

  @Test func datasetsHaveTheirOwnFolder() async throws {
    let rows: [String: [UInt8]] = [
      "README.md": [1], "data/train-00000-of-00001.parquet": [2, 3], "资料/粵語.jsonl": [4], "script.py": [5],
      "image.png": [6],
    ]
    let repository = FakeRepository(rows, prefix: "/datasets")
    let server = try await LoopbackServer(repository.answer)
    let snapshot = try await hub(server, cache).snapshot(of: name, kind: .dataset)
    #expect(snapshot.path.contains("/datasets--org--name/snapshots/"))
    for file in ["README.md", "data/train-00000-of-00001.parquet", "资料/粵語.jsonl"] {
      #expect(Array(try Data(contentsOf: snapshot.appending(path: file))) == rows[file])
    }
    #expect(try cache.tree().contains { $0.contains("train-00000-of-00001.parquet -> ../../../blobs/") })
    #expect(try blobs.count == 3)
  }

  @Test func revisionsAreRecorded() async throws {
    _ = try await hub(server, cache).snapshot(of: name, revision: "refs/pr/1", files: .matching(["config.*"]))
    #expect(server.requests.first?.uri == "/api/models/org/name/revision/refs%2Fpr%2F1")
    #expect(try cache.tree().contains("models--org--name/refs/refs/pr/1"))
    #expect(try blobs.count == 1)
    for revision in ["", "..", "../x", "/etc", "a//b", "a\nb"] {
      await expectError("not a valid revision") {
        _ = try await hub(server, cache).snapshot(of: name, revision: revision)
      }
    }
  }

  @Test func slowServersTimeOut() async throws {
    repository.fail(.get, "model.safetensors", { $0.with { $0.bytesPerStep = 10 } })
    try expectComplete(try await hub(server, cache, silence: .milliseconds(400)).snapshot(of: name))
    #expect(server.requests.filter { $0.method == "GET" && $0.path.hasSuffix("/model.safetensors") }.count == 2)
  }

  /// Without a length, only the hash tells whether a body is complete.
  @Test func bodiesWithoutALength() async throws {
    repository.fail(
      .get, "model.safetensors",
      { answer in
        answer.with {
          $0.announcesLength = false
          $0.cut = 1000
        }
      }, { $0.with { $0.announcesLength = false } })
    repository.fail(.get, "config.json", { $0.with { $0.announcesLength = false } })
    try expectComplete(try await hub(server, cache).snapshot(of: name))
  }

  @Test func aWrongContentLengthIsAnError() async throws {
    repository.fail(
      .get, "model.safetensors", { $0.with { $0.headers.append(("Content-Length", "300009")) } },
      { $0.with { $0.headers.append(("Content-Length", "299990")) } })
    try expectComplete(try await hub(server, cache, silence: .milliseconds(400)).snapshot(of: name))
  }

  @Test func cancelingStopsImmediatelyAndKeepsAResumableFile() async throws {
    repository.fail(.get, "model.safetensors", { $0.with { $0.stall = 100_000 } })
    let hub = try hub(server, cache, silence: .seconds(600))
    let weights = FakeRepository.sha256(repository.files["model.safetensors"] ?? [])
    let partial = cache.url.appending(path: "models--org--name/blobs/\(weights).incomplete")
    let name = name
    let task = Task { try await hub.snapshot(of: name) }
    while (try? Data(contentsOf: partial))?.isEmpty != false { try await Task.sleep(for: .milliseconds(10)) }
    try await Task.sleep(for: .milliseconds(100))
    let clock = ContinuousClock()
    let start = clock.now
    task.cancel()
    await expectError("the download was canceled; run the command again") { _ = try await task.value }
    #expect(clock.now - start < .seconds(300), "the download stops before the server's silence would end it")
    #expect(try hub.cached(name) == nil)
    let count = try Data(contentsOf: partial).count
    #expect((1...100_000).contains(count))
    server.forget()
    try expectComplete(try await hub.snapshot(of: name))
    let request = server.requests.first { $0.method == "GET" && $0.path.hasSuffix("/model.safetensors") }
    #expect(request?["Range"] == "bytes=\(count)-")
  }

  @Test func cancelingBeforeTheStart() async throws {
    let hub = try hub(server, cache)
    let name = name
    let task = Task {
      while !Task.isCancelled { await Task.yield() }
      return try await hub.snapshot(of: name)
    }
    task.cancel()
    await expectError("canceled") { _ = try await task.value }
  }
}
