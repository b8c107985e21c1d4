import Diagnostics
import Foundation
import Hub
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1)))
struct SettingsTests {
  let cache: TemporaryCache
  let repository = FakeRepository.model()
  let server: LoopbackServer
  let name: RepositoryID

  init() async throws {
    cache = try TemporaryCache()
    server = try await LoopbackServer(repository.answer)
    name = try RepositoryID("org/name")
  }

  /// Downloads one file. Returns the cache folder, and the token that was sent.
  func outcome(_ environment: [String: String]) async throws -> (folder: String, authorization: String?) {
    server.forget()
    let environment = ["HF_ENDPOINT": server.address + "/", "HOME": cache.url.path].merging(environment) { $1 }
    let hub = try Hub(environment: environment).retrying(
      attempts: 3, firstDelay: .milliseconds(1), longestDelay: .milliseconds(10), silence: .seconds(10))
    let snapshot = try await hub.snapshot(of: name, files: .matching(["config.json"]))
    let folder = snapshot.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let authorization = server.requests.first?["Authorization"]
    return (String(folder.path.dropFirst(cache.url.path.count)), authorization)
  }

  @Test func foldersAndTokens() async throws {
    let home = cache.url.path
    var outcome = try await outcome([:])
    #expect(outcome == ("/.cache/huggingface/hub", nil))
    outcome = try await self.outcome(["XDG_CACHE_HOME": "\(home)/xdg"])
    #expect(outcome == ("/xdg/huggingface/hub", nil))
    outcome = try await self.outcome(["HF_HOME": "~/hf", "HF_TOKEN": " hf_1\n"])
    #expect(outcome == ("/hf/hub", "Bearer hf_1"))
    outcome = try await self.outcome(["HF_HOME": "\(home)/hf", "HF_HUB_CACHE": "\(home)/hub"])
    #expect(outcome == ("/hub", nil))
    try "hf_file\n".write(to: cache.url.appending(path: "hf/token"), atomically: true, encoding: .utf8)
    outcome = try await self.outcome(["HF_HOME": "\(home)/hf"])
    #expect(outcome == ("/hf/hub", "Bearer hf_file"))
    outcome = try await self.outcome(["HF_HOME": "\(home)/hf", "HF_TOKEN": "hf_2"])
    #expect(outcome == ("/hf/hub", "Bearer hf_2"))
    outcome = try await self.outcome(["HF_TOKEN_PATH": "\(home)/hf/token"])
    #expect(outcome == ("/.cache/huggingface/hub", "Bearer hf_file"))
    outcome = try await self.outcome(["HF_HOME": "\(home)/hf", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"])
    #expect(outcome == ("/hf/hub", nil))
  }

  @Test(arguments: [
    ["HF_ENDPOINT": "mirror.example"], ["HF_ENDPOINT": "ftp://mirror.example"], ["HF_ENDPOINT": "https://"],
    ["HF_ENDPOINT": "https://user:pass@mirror.example"], ["HF_ENDPOINT": "https://mirror.example/?a=b"],
    ["HF_TOKEN": "two words"], ["HF_TOKEN": "a\r\nX-Header: b"], ["MODELSCOPE_ENDPOINT": "ftp://a.example"],
    ["https_proxy": "ftp://a.example"], ["ALL_PROXY": "socks6://a.example"], ["HTTPS_PROXY": "http://"],
  ])
  func malformedSettings(environment: [String: String]) {
    let error = #expect(throws: SwiftletError.self) { try Hub(environment: environment) }
    #expect(error?.description.contains("; ") == true)
  }

  @Test func plainRequestsGoThroughAnHTTPProxy() async throws {
    let service = repository
    let proxy = try await LoopbackServer { request in
      let path = String(request.uri.dropFirst("http://hub.example.test".count))
      return service.answer(Request(method: request.method, uri: path, headers: request.headers))
    }
    let address = proxy.address.replacing("http://", with: "http://user:p%40ss@")
    for (variable, exceptions) in [("HTTP_PROXY", ""), ("all_proxy", "other.test, ample.test")] {
      proxy.forget()
      let cache = try TemporaryCache()
      let environment = ["HF_ENDPOINT": "http://hub.example.test", variable: address, "NO_PROXY": exceptions]
      _ = try await hub(server, cache, environment).snapshot(of: name, files: .matching(["config.json"]))
      #expect(proxy.requests.count == 3)
      #expect(proxy.requests.allSatisfy { $0.uri.hasPrefix("http://hub.example.test/") })
      let credentials = Data("user:p@ss".utf8).base64EncodedString()
      #expect(proxy.requests.allSatisfy { $0["Proxy-Authorization"] == "Basic \(credentials)" })
    }
    #expect(server.requests.isEmpty)
    proxy.forget()
    for exceptions in ["*", "127.0.0.1", "a.test,127.0.0.1"] {
      _ = try await outcome(["HTTP_PROXY": address, "no_proxy": exceptions])
      #expect(!server.requests.isEmpty)
    }
    #expect(proxy.requests.isEmpty)
  }

  @Test func encryptedRequestsGoThroughATunnelOfTheProxy() async throws {
    let proxy = try await LoopbackServer { _ in .status(403) }
    await expectError("CONNECT tunnel failed, response 403") {
      _ = try await outcome(["HF_ENDPOINT": "https://hub.example.test", "https_proxy": proxy.address])
    }
    #expect(!proxy.requests.isEmpty)
    #expect(proxy.requests.allSatisfy { $0.method == "CONNECT" && $0.uri == "hub.example.test:443" })
    #expect(proxy.requests.allSatisfy { $0["Authorization"] == nil })
  }

  @Test(arguments: ["socks5", "socks5h"])
  func aSOCKSProxyResolvesTheHostName(scheme: String) async throws {
    let service = repository
    let proxy = try await LoopbackServer(isSOCKS: true, service.answer)
    let environment = [
      "HF_ENDPOINT": "http://hub.example.test", "ALL_PROXY": proxy.address.replacing("http:", with: "\(scheme):"),
    ]
    _ = try await hub(server, cache, environment).snapshot(of: name, files: .matching(["config.json"]))
    #expect(!proxy.destinations.isEmpty && proxy.destinations.allSatisfy { $0 == "hub.example.test:80" })
    #expect(proxy.requests.count == 3 && server.requests.isEmpty)
  }

  /// ModelScope as it answers: one list with sizes and hashes, contents by query.
  @Test(arguments: [RepositoryKind.model, .dataset])
  func modelScope(kind: RepositoryKind) async throws {
    let files: [String: [UInt8]] = ["config.json": [1, 2], "資料 1.jsonl": [3], "model.safetensors": [4, 5, 6]]
    let entries = files.sorted { $0.key < $1.key }.map { path, content in
      #"{"Path":"\#(path)","Type":"blob","Size":\#(content.count),"Sha256":"\#(FakeRepository.sha256(content))"}"#
    }
    let list = #"{"Code":200,"Data":{"Files":[{"Path":"d","Type":"tree"},\#(entries.joined(separator: ","))]}}"#
    let server = try await LoopbackServer { request in
      let base = "/api/v1/\(kind)s/org/name/repo"
      let query = request.uri.split(separator: "?").last.map(String.init) ?? ""
      guard query.contains("Revision=master") else { return .status(400) }
      if request.path == base + (kind == .model ? "/files" : "/tree") { return .text(list) }
      let path = query.split(separator: "=").last.flatMap { String($0).removingPercentEncoding } ?? ""
      return request.path == base ? files[path].map { Answer(body: $0) } ?? .status(404) : .status(404)
    }
    let hub = try Hub(environment: [
      "MODELSCOPE_ENDPOINT": server.address, "MODELSCOPE_CACHE": cache.url.path, "MODELSCOPE_API_TOKEN": "ms-1",
    ])
    // Recipes ask for Hugging Face's default branch.
    let snapshot = try await hub.snapshot(of: name, revision: kind == .model ? "main" : nil, kind: kind)
    let wanted = kind == .model ? ["config.json", "model.safetensors"] : ["config.json", "資料 1.jsonl"]
    #expect(try FileManager.default.contentsOfDirectory(atPath: snapshot.path).sorted() == wanted)
    for file in wanted { #expect(Array(try Data(contentsOf: snapshot.appending(path: file))) == files[file]) }
    #expect(server.requests.allSatisfy { $0["Cookie"] == "m_session_id=ms-1" })
    #expect(try hub.cached(name, kind: kind)?.path == snapshot.path)
  }

  @Test func modelScopeErrors() async throws {
    let server = try await LoopbackServer { _ in
      .text(#"{"Code":10010205001,"Message":"no such\nmodel","Success":false}"#)
    }
    let environment = [
      "USE_MODELSCOPE_HUB": "1", "MODELSCOPE_DOMAIN": server.address, "MODELSCOPE_CACHE": cache.url.path,
    ]
    await expectError("the service answered with an error: no such\\nmodel") {
      _ = try await Hub(environment: environment).snapshot(of: name)
    }
  }

  @Test(
    arguments: [
      (["a.gguf", "README.md", "config.json"], nil, ["a.gguf", "config.json"]),
      (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-f16.gguf", "mmproj-f16.gguf"], nil, ["m-Q4_K_M.gguf"]),
      (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf"], "q8_0", ["m-Q8_0.gguf"]),
      (["model.safetensors", "m-Q4_0.gguf"], nil, ["model.safetensors"]),
      (["model.safetensors", "m-Q4_0.gguf"], "Q4_0", ["m-Q4_0.gguf"]),
      (
        ["adapter_model.safetensors", "adapter_config.json"], nil, ["adapter_model.safetensors", "adapter_config.json"]
      ),
      (
        [
          "model.safetensors", "onnx/config.json", "additional_chat_templates/tool_use.jinja", "merges.txt",
          "LICENSE.txt",
        ],
        nil, ["model.safetensors", "additional_chat_templates/tool_use.jinja", "merges.txt"]
      ),
    ] as [([String], String?, [String])])
  func selections(names: [String], gguf: String?, chosen: [String]) async throws {
    let repository = FakeRepository(Dictionary(uniqueKeysWithValues: names.map { ($0, Array($0.utf8)) }))
    let server = try await LoopbackServer(repository.answer)
    _ = try await hub(server, cache).snapshot(of: name, files: .model(gguf: gguf))
    let prefix = "/org/name/resolve/\(FakeRepository.commit)/"
    let fetched = server.requests.filter { $0.method == "GET" && $0.path.hasPrefix(prefix) }
      .map { String($0.path.dropFirst(prefix.count)) }
    #expect(Set(fetched) == Set(chosen))
  }

  @Test(
    arguments: [
      (["config.json", "pytorch_model.bin"], nil, "convert them to safetensors"),
      (["m-Q4_0.gguf"], "Q9", "choose one of m-Q4_0.gguf"), (["config.json"], "Q4_0", "the repository has none"),
      (["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], nil, "split into parts"),
    ] as [([String], String?, String)])
  func impossibleSelections(names: [String], gguf: String?, reason: String) async throws {
    let repository = FakeRepository(Dictionary(uniqueKeysWithValues: names.map { ($0, Array($0.utf8)) }))
    let server = try await LoopbackServer(repository.answer)
    await expectError(reason) { _ = try await hub(server, cache).snapshot(of: name, files: .model(gguf: gguf)) }
  }

  @Test func patterns() async throws {
    let selection = FileSelection.matching(["data/*-?.parquet", "*.md"])
    let repository = FakeRepository(["data/a-1.parquet": [1], "data/a-12.parquet": [2], "x/README.md": [3], "b": [4]])
    let server = try await LoopbackServer(repository.answer)
    _ = try await hub(server, cache).snapshot(of: name, files: selection)
    let links = try cache.tree().filter { $0.contains(" -> ") }
    #expect(links.count == 2 && links[0].contains("data/a-1.parquet") && links[1].contains("x/README.md"))
  }
}
