import Diagnostics
import Foundation
import Hub
import OrderedJSON
import TestSupport
import Testing

/// Errors, and servers and names that must not be trusted.
@Suite(.timeLimit(.minutes(1)))
struct RefusalTests {
  let cache: TemporaryCache
  let repository = FakeRepository.model()
  let server: LoopbackServer
  let name: RepositoryID

  init() async throws {
    cache = try TemporaryCache()
    server = try await LoopbackServer(repository.answer)
    name = try RepositoryID("org/name")
  }

  @Test(
    arguments: [
      (401, nil, nil, "access denied (401): the repository is private or does not exist"),
      (401, nil, "hf_x", "access denied (401); accept the terms"),
      (403, nil, "hf_x", "access denied (403); accept the terms"),
      (403, "GatedRepo", "hf_x", "is gated; accept its terms"),
      (401, "GatedRepo", nil, "set HF_TOKEN"), (404, nil, nil, "not found on http://127.0.0.1"),
      (404, "RepoNotFound", nil, "check the name"), (404, "RevisionNotFound", nil, "revision not found"),
      (418, nil, nil, "answered 418"),
    ] as [(Int, String?, String?, String)])
  func permanentErrors(status: Int, code: String?, token: String?, reason: String) async throws {
    repository.failAlways(.get, "list") { _ in
      .status(status, code.map { [("X-Error-Code", $0)] } ?? [])
    }
    await expectError(reason) {
      _ = try await hub(server, cache, ["HF_TOKEN": token ?? ""]).snapshot(of: name)
    }
    #expect(server.requests.count == 1)
  }

  @Test func filesCanBeGatedWhileTheListIsPublic() async throws {
    repository.failAlways(.head, "model.safetensors") { _ in .status(401, [("X-Error-Code", "GatedRepo")]) }
    await expectError("is gated") { _ = try await hub(server, cache).snapshot(of: name) }
    repository.restore()
    repository.failAlways(.get, "config.json") { _ in .status(404, [("X-Error-Code", "EntryNotFound")]) }
    await expectError("does not have it") { _ = try await hub(server, cache).snapshot(of: name) }
  }

  /// Files come from another host, as on Hugging Face. That host must not see the token.
  @Test func theTokenDoesNotFollowRedirects() async throws {
    let contents = repository
    let other = try await LoopbackServer { request in
      let file = request.path.dropFirst("/cdn/".count).removingPercentEncoding ?? ""
      return contents.file(file, request)
    }
    for file in repository.files.keys {
      let location = "\(other.address)/cdn/\(file)?signature=a%2Fb"
      let redirect: @Sendable (Answer) -> Answer = { answer in
        var redirect = Answer.status(302, answer.headers + [("Location", location)])
        redirect.announcesLength = false
        redirect.headers.append(("Content-Length", "0"))
        return redirect
      }
      repository.failAlways(.get, file, redirect)
      if file == "model.safetensors" { repository.failAlways(.head, file, redirect) }
    }
    let snapshot = try await hub(server, cache, ["HF_TOKEN": "hf_secret"]).snapshot(of: name)
    let weights = try Data(contentsOf: snapshot.appending(path: "model.safetensors"))
    #expect(Array(weights) == repository.files["model.safetensors"])
    #expect(server.requests.allSatisfy { $0["Authorization"] == "Bearer hf_secret" })
    #expect(other.requests.count == 5)
    #expect(other.requests.allSatisfy { $0.method == "GET" && $0.uri.hasSuffix("?signature=a%2Fb") })
    for request in other.requests {
      #expect(!request.headers.contains { $0.name.lowercased() == "authorization" || $0.value.contains("secret") })
    }
  }

  @Test func redirectsWithinTheServiceAreFollowed() async throws {
    let moved: @Sendable (Answer) -> Answer = { _ in
      .status(307, [("Location", "/org/name/resolve/\(FakeRepository.commit)/config.json")])
    }
    repository.fail(.head, "config.json", moved)
    repository.fail(.get, "config.json", moved)
    let snapshot = try await hub(server, cache, ["HF_TOKEN": "hf_secret"]).snapshot(of: name)
    #expect(Array(try Data(contentsOf: snapshot.appending(path: "config.json"))) == repository.files["config.json"])
    #expect(server.requests.allSatisfy { $0["Authorization"] == "Bearer hf_secret" })
  }

  @Test(
    arguments: [
      ("/api/models/org/name/revision/main", "in circles"), ("file:///etc/passwd", "an invalid URL"),
      ("gopher://example.test/", "an invalid URL"), ("http://", "an invalid URL"), (nil, "an invalid URL"),
    ] as [(String?, String)])
  func invalidRedirects(location: String?, reason: String) async throws {
    repository.failAlways(.get, "list") { _ in .status(302, location.map { [("Location", $0)] } ?? []) }
    await expectError(reason) { _ = try await hub(server, cache).snapshot(of: name) }
  }

  @Test(arguments: [
    ("", "invalid JSON"), ("<html>", "invalid JSON"), ("[]", "no list of files"),
    (#"{"sha":"x","siblings":[]}"#, "no list of files"),
    (#"{"sha":"../../../../../../../../../../../../../x","siblings":[]}"#, "no list of files"),
    (#"{"sha":"\#(FakeRepository.commit)","siblings":{}}"#, "no list of files"),
    (#"{"sha":"\#(FakeRepository.commit)","siblings":[]}"#, "no matching files"),
    (#"{"sha":"\#(FakeRepository.commit)","siblings":[1,{},{"rfilename":3}]}"#, "no matching files"),
  ])
  func invalidLists(list: String, reason: String) async throws {
    repository.failAlways(.get, "list") { _ in .text(list) }
    await expectError(reason) { _ = try await hub(server, cache).snapshot(of: name) }
  }

  @Test(arguments: ["../evil.json", "/etc/evil.json", "a/../../evil.json", "a//b.json", "a\\b.json", "a\u{0}.json", ""])
  func pathsOutsideTheFolder(path: String) async throws {
    let list: JSONValue = [
      "sha": .string(FakeRepository.commit), "siblings": [["rfilename": .string(path)], ["rfilename": "config.json"]],
    ]
    repository.failAlways(.get, "list") { _ in .text(list.text()) }
    await expectError("do not trust it") { _ = try await hub(server, cache).snapshot(of: name, files: .everything) }
    #expect(try cache.tree() == [])
  }

  @Test func anETagCannotBeAPath() async throws {
    repository.failAlways(.head, "config.json") { answer in
      answer.with { $0.headers = [("ETag", "\"../../../evil\"")] }
    }
    let snapshot = try await hub(server, cache).snapshot(of: name)
    #expect(Array(try Data(contentsOf: snapshot.appending(path: "config.json"))) == repository.files["config.json"])
    #expect(try cache.tree().contains { $0.contains("config.json -> ../../blobs/etag-") })
    repository.failAlways(.head, "config.json") { answer in answer.with { $0.headers = [] } }
    await expectError("sends no ETag") { _ = try await hub(server, try TemporaryCache()).snapshot(of: name) }
  }

  @Test func unusableCacheFolder() async throws {
    let file = cache.url.appending(path: "file")
    try Data([1]).write(to: file)
    await expectError("cannot create this folder") {
      _ = try await hub(server, cache, ["HF_HUB_CACHE": file.appending(path: "hub").path]).snapshot(of: name)
    }
  }

  @Test(arguments: [
    "", "/", "org/", "/name", "a/b/c", "org/na me", "../name", "org/..", "org/.name", "org/name-", "org/a--b", "组织/名",
    "org/a..b", "org\\name", "org/name\n", String(repeating: "a", count: 201),
  ])
  func invalidNames(text: String) {
    #expect(throws: SwiftletError.self) { try RepositoryID(text) }
    #expect(!RepositoryID.isQualifiedName(text))
  }

  @Test func validNames() throws {
    #expect(try RepositoryID("Qwen/Qwen3-0.6B-Base").description == "Qwen/Qwen3-0.6B-Base")
    #expect(try RepositoryID("gpt2").description == "gpt2")
    #expect(RepositoryID.isQualifiedName("org/name_1.x"))
    #expect(!RepositoryID.isQualifiedName("gpt2"))
    #expect(!RepositoryID.isQualifiedName("./name"))
  }
}
