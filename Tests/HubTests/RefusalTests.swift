import Foundation
import Hub
import NIOHTTP1
import OrderedJSON
import Testing

/// What servers and names must not do to us.
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
      (401, nil, nil, "is not open to everyone, or does not exist (401)"),
      (401, nil, "hf_x", "the token was refused (401)"),
      (403, nil, "hf_x", "the token was refused (403)"), (403, "GatedRepo", "hf_x", "is gated; accept its conditions"),
      (401, "GatedRepo", nil, "set HF_TOKEN"), (404, nil, nil, "was not found on http://127.0.0.1"),
      (404, "RepoNotFound", nil, "check the spelling"), (404, "RevisionNotFound", nil, "has no such revision"),
      (418, nil, nil, "answered 418"),
    ] as [(Int, String?, String?, String)])
  func refusals(status: Int, code: String?, token: String?, reason: String) async throws {
    repository.failAlways(.GET, "list") { _ in
      .status(HTTPResponseStatus(statusCode: status), code.map { [("X-Error-Code", $0)] } ?? [])
    }
    await expectError(reason) {
      _ = try await hub(server, cache, ["HF_TOKEN": token ?? ""]).snapshot(of: name)
    }
    #expect(server.requests.count == 1)
  }

  @Test func gatedFilesOfAnOpenListing() async throws {
    repository.failAlways(.HEAD, "model.safetensors") { _ in .status(.unauthorized, [("X-Error-Code", "GatedRepo")]) }
    await expectError("is gated") { _ = try await hub(server, cache).snapshot(of: name) }
    repository.restore()
    repository.failAlways(.GET, "config.json") { _ in .status(.notFound, [("X-Error-Code", "EntryNotFound")]) }
    await expectError("does not have it") { _ = try await hub(server, cache).snapshot(of: name) }
  }

  /// Contents come from another host, as they do in reality; the token must not go there.
  @Test func theTokenStaysWithTheService() async throws {
    let contents = repository
    let other = try await LoopbackServer { request in
      let file = request.path.dropFirst("/cdn/".count).removingPercentEncoding ?? ""
      return contents.file(file, request)
    }
    for file in repository.files.keys {
      let location = "\(other.address)/cdn/\(file)?signature=a%2Fb"
      let redirect: @Sendable (Answer) -> Answer = { answer in
        var redirect = Answer.status(.found, answer.headers + [("Location", location)])
        redirect.announcesLength = false
        redirect.headers.append(("Content-Length", "0"))
        return redirect
      }
      repository.failAlways(.GET, file, redirect)
      if file == "model.safetensors" { repository.failAlways(.HEAD, file, redirect) }
    }
    let snapshot = try await hub(server, cache, ["HF_TOKEN": "hf_secret"]).snapshot(of: name)
    let weights = try Data(contentsOf: snapshot.appending(path: "model.safetensors"))
    #expect(Array(weights) == repository.files["model.safetensors"])
    #expect(server.requests.allSatisfy { $0.headers.first(name: "Authorization") == "Bearer hf_secret" })
    #expect(other.requests.count == 5)
    #expect(other.requests.allSatisfy { $0.method == .GET && $0.uri.hasSuffix("?signature=a%2Fb") })
    for request in other.requests {
      #expect(!request.headers.contains { $0.name.lowercased() == "authorization" || $0.value.contains("secret") })
    }
  }

  @Test func aRedirectWithinTheServiceIsFollowed() async throws {
    let moved: @Sendable (Answer) -> Answer = { _ in
      .status(.temporaryRedirect, [("Location", "/org/name/resolve/\(FakeRepository.commit)/config.json")])
    }
    repository.fail(.HEAD, "config.json", moved)
    repository.fail(.GET, "config.json", moved)
    let snapshot = try await hub(server, cache, ["HF_TOKEN": "hf_secret"]).snapshot(of: name)
    #expect(Array(try Data(contentsOf: snapshot.appending(path: "config.json"))) == repository.files["config.json"])
    #expect(server.requests.allSatisfy { $0.headers.first(name: "Authorization") == "Bearer hf_secret" })
  }

  @Test(
    arguments: [
      ("/api/models/org/name/revision/main", "in circles"), ("file:///etc/passwd", "no address"),
      ("gopher://example.test/", "no address"), ("http://", "no address"), (nil, "no address"),
    ] as [(String?, String)])
  func redirectsToNowhere(location: String?, reason: String) async throws {
    repository.failAlways(.GET, "list") { _ in .status(.found, location.map { [("Location", $0)] } ?? []) }
    await expectError(reason) { _ = try await hub(server, cache).snapshot(of: name) }
  }

  @Test(arguments: [
    ("", "no JSON"), ("<html>", "no JSON"), ("[]", "no list of files"),
    (#"{"sha":"x","siblings":[]}"#, "no list of files"),
    (#"{"sha":"../../../../../../../../../../../../../x","siblings":[]}"#, "no list of files"),
    (#"{"sha":"\#(FakeRepository.commit)","siblings":{}}"#, "no list of files"),
    (#"{"sha":"\#(FakeRepository.commit)","siblings":[]}"#, "no file that is wanted"),
    (#"{"sha":"\#(FakeRepository.commit)","siblings":[1,{},{"rfilename":3}]}"#, "no file that is wanted"),
  ])
  func listsThatAreNone(list: String, reason: String) async throws {
    repository.failAlways(.GET, "list") { _ in .text(list) }
    await expectError(reason) { _ = try await hub(server, cache).snapshot(of: name) }
  }

  @Test(arguments: ["../evil.json", "/etc/evil.json", "a/../../evil.json", "a//b.json", "a\\b.json", "a\u{0}.json", ""])
  func filesOutsideTheFolder(path: String) async throws {
    let list: JSONValue = [
      "sha": .string(FakeRepository.commit), "siblings": [["rfilename": .string(path)], ["rfilename": "config.json"]],
    ]
    repository.failAlways(.GET, "list") { _ in .text(list.text()) }
    await expectError("do not trust it") { _ = try await hub(server, cache).snapshot(of: name, files: .everything) }
    #expect(try cache.tree() == [])
  }

  @Test func aStrangeETagIsNoPath() async throws {
    repository.failAlways(.HEAD, "config.json") { answer in
      answer.with { $0.headers = [("ETag", "\"../../../evil\"")] }
    }
    let snapshot = try await hub(server, cache).snapshot(of: name)
    #expect(Array(try Data(contentsOf: snapshot.appending(path: "config.json"))) == repository.files["config.json"])
    #expect(try cache.tree().contains { $0.contains("config.json -> ../../blobs/etag-") })
    repository.failAlways(.HEAD, "config.json") { answer in answer.with { $0.headers = [] } }
    await expectError("sends no ETag") { _ = try await hub(server, try TemporaryCache()).snapshot(of: name) }
  }

  @Test func aFullOrForbiddenCacheFolder() async throws {
    let file = cache.url.appending(path: "file")
    try Data([1]).write(to: file)
    await expectError("could not be created") {
      _ = try await hub(server, cache, ["HF_HUB_CACHE": file.appending(path: "hub").path]).snapshot(of: name)
    }
  }

  @Test(arguments: [
    "", "/", "org/", "/name", "a/b/c", "org/na me", "../name", "org/..", "org/.name", "org/name-", "org/a--b", "组织/名",
    "org/a..b", "org\\name", "org/name\n", String(repeating: "a", count: 201),
  ])
  func namesThatAreNone(text: String) {
    #expect(throws: HubError.self) { try RepositoryID(text) }
    #expect(!RepositoryID.isQualifiedName(text))
  }

  @Test func names() throws {
    #expect(try RepositoryID("Qwen/Qwen3-0.6B-Base").description == "Qwen/Qwen3-0.6B-Base")
    #expect(try RepositoryID("gpt2").description == "gpt2")
    #expect(RepositoryID.isQualifiedName("org/name_1.x"))
    #expect(!RepositoryID.isQualifiedName("gpt2"))
    #expect(!RepositoryID.isQualifiedName("./name"))
  }
}
