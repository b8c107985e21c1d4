import Diagnostics
import Foundation
import Hub
import OrderedJSON
import Synchronization
import TestSupport
import Testing

/// Uploads to a service on this machine that keeps what it gets.
@Suite struct UploadTests {
  /// What Hugging Face's service does with uploads, as `huggingface_hub` 2.4 uses it.
  final class Service: Sendable {
    struct State {
      var calls: [String] = []
      var stored: [String: [UInt8]] = [:]
      var commit: [JSONValue] = []
      var failures: [String: [Int]] = [:]
    }
    let state = Mutex(State())
    /// The address, once it is known.
    let address = Mutex("")
    /// Files with these endings go through LFS.
    let partSize: Int?
    let exists: Bool

    init(partSize: Int? = nil, exists: Bool = false) { (self.partSize, self.exists) = (partSize, exists) }

    @Sendable func answer(_ request: Request) -> Answer {
      let failure = state.withLock { state -> Int? in
        state.calls.append("\(request.method) \(request.path)")
        guard state.failures[request.path]?.isEmpty == false else { return nil }
        return state.failures[request.path]?.removeFirst()
      }
      if let failure { return .text(#"{"error":"because"}"#, status: failure) }
      let isStore = request.path.hasPrefix("/store/")
      // The store is another host: it must not see the token.
      guard isStore == (request["Authorization"] == nil) else { return .status(401) }
      switch request.path {
      case "/api/whoami-v2": return .text(#"{"name":"me"}"#)
      case "/api/repos/create": return exists ? .status(409) : .text(#"{"url":"x"}"#)
      case "/api/models/org/name/preupload/main", "/api/models/me/name/preupload/main":
        let files = (try? JSONValue(parsing: request.body))?["files"]?.array ?? []
        let modes = files.map { file -> JSONValue in
          let isLarge = file["path"]?.string?.hasSuffix(".safetensors") == true
          return [
            "path": file["path"] ?? nil, "uploadMode": isLarge ? "lfs" : "regular",
            "shouldIgnore": .bool(file["path"]?.string == "ignored.txt"),
          ]
        }
        return .text(JSONValue.object(["files": .array(modes)]).text())
      case "/org/name.git/info/lfs/objects/batch", "/me/name.git/info/lfs/objects/batch": return batch(request)
      case "/complete", "/verify": return .text("{}")
      case "/api/models/org/name/commit/main", "/api/models/me/name/commit/main":
        let lines = request.body.split(separator: UInt8(ascii: "\n")).compactMap { try? JSONValue(parsing: $0) }
        state.withLock { $0.commit = lines }
        return .text(#"{"commitOid":"abc","commitUrl":"x"}"#)
      case let path where isStore && request.method == "PUT":
        state.withLock { $0.stored[path] = request.body }
        return .status(200, [("ETag", "\"\(path.split(separator: "/").last ?? "")\"")])
      default: return .status(404)
      }
    }

    private func batch(_ request: Request) -> Answer {
      let json = try? JSONValue(parsing: request.body)
      let address = address.withLock { $0 }
      // Another name for this machine is another origin.
      let store = address.replacingOccurrences(of: "127.0.0.1", with: "localhost")
      let objects = (json?["objects"]?.array ?? []).map { object -> JSONValue in
        let id = object["oid"]?.string ?? ""
        guard let partSize else {
          return [
            "oid": .string(id), "size": object["size"] ?? nil,
            "actions": [
              "upload": ["href": .string("\(store)/store/\(id)"), "header": ["X-Extra": "1"]],
              "verify": ["href": .string("\(address)/verify")],
            ],
          ]
        }
        let count = ((object["size"]?.integer ?? 0) + partSize - 1) / partSize
        var header = JSONObject([("chunk_size", .string(String(partSize)))])
        for index in 1...max(1, count) {
          header[String(format: "%05d", index)] = .string("\(store)/store/\(id)/\(index)")
        }
        return [
          "oid": .string(id), "size": object["size"] ?? nil,
          "actions": ["upload": ["href": .string("\(address)/complete"), "header": .object(header)]],
        ]
      }
      return .text(JSONValue.object(["transfer": "basic", "objects": .array(objects)]).text())
    }
  }

  private static let weights = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }

  private static func folder() throws -> URL {
    let folder = try scratchFolder("upload")
    for (name, content) in [
      ("adapter_model.safetensors", weights), ("README.md", Array("# Modell für 你好\n".utf8)), ("ignored.txt", [1]),
      ("empty.safetensors", []), (".hidden", [1]), ("board/run.json", [1]), ("checkpoint-5/optimizer.safetensors", [1]),
    ] {
      let url = folder.appendingPathComponent(name)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(content).write(to: url)
    }
    return folder
  }

  private static func upload(_ service: Service, to name: String = "org/name", token: String? = "secret") async throws
    -> String
  {
    let server = try await LoopbackServer(service.answer)
    service.address.withLock { $0 = server.address }
    defer { server.stop() }
    let cache = try TemporaryCache()
    var environment = ["HF_ENDPOINT": server.address, "HF_HOME": cache.url.path, "NO_PROXY": "*"]
    environment["HF_TOKEN"] = token
    return try await Hub(environment: environment).upload(folder(), to: name, message: "A result")
  }

  @Test func largeFilesGoToTheStoreAndOthersIntoTheCommit() async throws {
    let service = Service()
    let address = try await Self.upload(service)
    #expect(address.hasSuffix("/org/name"))
    let state = service.state.withLock { $0 }
    let hash = FakeRepository.sha256(Self.weights)
    #expect(state.stored == ["/store/\(hash)": Self.weights])
    #expect(state.commit.first?["value"]?["summary"]?.string == "A result")
    let files = state.commit.dropFirst()
    #expect(files.map { $0["key"]?.string } == ["file", "lfsFile", "file"])
    #expect(
      files.map { $0["value"]?["path"]?.string } == ["README.md", "adapter_model.safetensors", "empty.safetensors"])
    let card = files.first?["value"]?["content"]?.string.flatMap { Data(base64Encoded: $0) }
    #expect(card == Data("# Modell für 你好\n".utf8))
    let large = try #require(files.first { $0["key"]?.string == "lfsFile" }?["value"])
    #expect(large["oid"]?.string == hash && large["size"]?.integer == 100_000 && large["algo"]?.string == "sha256")
    #expect(state.calls.last == "POST /api/models/org/name/commit/main" && state.calls.contains("POST /verify"))
  }

  @Test func aFileMayGoInParts() async throws {
    let service = Service(partSize: 30_000)
    _ = try await Self.upload(service)
    let state = service.state.withLock { $0 }
    let hash = FakeRepository.sha256(Self.weights)
    let parts = (1...4).compactMap { state.stored["/store/\(hash)/\($0)"] }
    #expect(parts.count == 4 && Array(parts.joined()) == Self.weights)
    #expect(state.calls.contains("POST /complete"))
  }

  @Test func aNameAloneIsOneOfTheUser() async throws {
    let service = Service(exists: true)
    #expect(try await Self.upload(service, to: "name").hasSuffix("/me/name"))
    #expect(service.state.withLock { $0.calls.last } == "POST /api/models/me/name/commit/main")
  }

  @Test func aBusyServiceIsAskedAgain() async throws {
    let service = Service()
    service.state.withLock { $0.failures["/api/models/org/name/commit/main"] = [503] }
    _ = try await Self.upload(service)
    #expect(service.state.withLock { $0.commit.count } == 4)
  }

  @Test(arguments: [
    ("/api/models/org/name/commit/main", 400, "because"), ("/api/repos/create", 403, "HF_TOKEN"),
    ("/api/models/org/name/preupload/main", 404, "404"),
  ])
  func refusalsAreReported(_ path: String, _ status: Int, _ reason: String) async throws {
    let service = Service()
    service.state.withLock { $0.failures[path] = [status] }
    await #expect {
      _ = try await Self.upload(service)
    } throws: { error in
      "\(error)".contains(reason) && !"\(error)".contains("secret")
    }
    #expect(service.state.withLock { $0.commit.isEmpty })
  }

  @Test func withoutATokenNothingIsSent() async throws {
    let service = Service()
    await #expect {
      _ = try await Self.upload(service, token: nil)
    } throws: { "\($0)".contains("HF_TOKEN") }
    #expect(service.state.withLock { $0.calls.isEmpty })
  }
}
