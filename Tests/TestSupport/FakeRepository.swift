import Foundation
import Hub
import OrderedJSON
import Synchronization

/// A repository as Hugging Face serves it, with injected faults.
package final class FakeRepository: Sendable {
  package enum Method: String {
    case get = "GET"
    case head = "HEAD"
  }

  package static let commit = "0123456789abcdef0123456789abcdef01234567"

  package let files: [String: [UInt8]]
  package let prefix: String
  private let faults = Mutex<[String: [@Sendable (Answer) -> Answer]]>([:])

  package init(_ files: [String: [UInt8]], prefix: String = "") {
    self.files = files
    self.prefix = prefix
  }

  private static let weights = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }

  /// The files of a small model with 300,000 bytes of weights, and copies of the weights in other formats.
  package static func model() -> FakeRepository {
    FakeRepository([
      "config.json": Array(#"{"model_type":"llama"}"#.utf8), "tokenizer.json": Array("{}".utf8),
      "tokenizer_config.json": Array(#"{"说明":"中文"}"#.utf8), "chat_template.jinja": Array("{{ messages }}".utf8),
      "model.safetensors": weights, "pytorch_model.bin": [1, 2, 3], "onnx/model.onnx": [4], "README.md": [5],
      "original/consolidated.pth": [6],
    ])
  }

  /// Changes the next answers to requests for this path and method, one change per answer.
  package func fail(_ method: Method, _ path: String, _ changes: (@Sendable (Answer) -> Answer)...) {
    faults.withLock { $0["\(method.rawValue) \(path)", default: []] += changes }
  }

  /// Changes all further answers to requests for this path and method.
  package func failAlways(_ method: Method, _ path: String, _ change: @escaping @Sendable (Answer) -> Answer) {
    faults.withLock { $0["\(method.rawValue) \(path)"] = Array(repeating: change, count: 100) }
  }

  package func restore() { faults.withLock { $0 = [:] } }

  package static func sha256(_ content: [UInt8]) -> String {
    (try? MessageDigest.hexadecimal(.sha256, Data(content))) ?? "no SHA-256"
  }

  package static func gitHash(_ content: [UInt8]) -> String {
    (try? MessageDigest.hexadecimal(.sha1, Data("blob \(content.count)\0".utf8) + Data(content))) ?? "no SHA-1"
  }

  /// The name of the blob: the SHA-256 of weights, the git hash of anything else.
  package static func etag(_ path: String, _ content: [UInt8]) -> String {
    isLarge(path) ? sha256(content) : gitHash(content)
  }

  private static func isLarge(_ path: String) -> Bool { path.hasSuffix(".safetensors") || path.hasSuffix(".gguf") }

  /// "list" for the list of files, else the path of the requested file.
  private func subject(_ request: Request) -> String? {
    let kind = prefix.isEmpty ? "models" : "datasets"
    if request.path.hasPrefix("/api/\(kind)/org/name/revision/") { return "list" }
    let resolve = "\(prefix)/org/name/resolve/\(Self.commit)/"
    guard request.path.hasPrefix(resolve) else { return nil }
    return String(request.path.dropFirst(resolve.count)).removingPercentEncoding
  }

  @Sendable package func answer(_ request: Request) -> Answer {
    guard let subject = subject(request) else { return .status(404) }
    let change = faults.withLock { faults -> (@Sendable (Answer) -> Answer)? in
      let key = "\(request.method) \(subject)"
      guard faults[key]?.isEmpty == false else { return nil }
      return faults[key]?.removeFirst()
    }
    let answer = subject == "list" ? list() : file(subject, request)
    return change?(answer) ?? answer
  }

  private func list() -> Answer {
    let siblings = files.keys.sorted().map { JSONValue.object(JSONObject([("rfilename", .string($0))])) }
    let answer: JSONValue = ["id": "org/name", "sha": .string(Self.commit), "siblings": .array(siblings)]
    return .text(answer.text())
  }

  package func file(_ path: String, _ request: Request) -> Answer {
    guard let content = files[path] else { return .status(404, [("X-Error-Code", "EntryNotFound")]) }
    var answer = Answer()
    answer.headers = [("X-Repo-Commit", Self.commit), ("Accept-Ranges", "bytes")]
    if Self.isLarge(path) {
      answer.headers += [
        ("X-Linked-Etag", "\"\(Self.etag(path, content))\""), ("X-Linked-Size", "\(content.count)"),
        ("ETag", "\"cdn\""),
      ]
    } else {
      answer.headers.append(("ETag", "W/\"\(Self.etag(path, content))\""))
    }
    let range = request["Range"]
    let start = range.flatMap { Int($0.dropFirst("bytes=".count).dropLast()) } ?? 0
    if start >= content.count, range != nil { return .status(416) }
    answer.body = Array(content[start...])
    if range != nil {
      answer.status = 206
      answer.headers.append(("Content-Range", "bytes \(start)-\(content.count - 1)/\(content.count)"))
    }
    return answer
  }
}

/// A cache folder that is removed when the test ends.
package final class TemporaryCache: Sendable {
  package let url: URL

  package init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "hub-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// Paths below the folder, except lock files and recorded listings. Links are followed by "-> " and their target.
  package func tree(_ path: String = "") throws -> [String] {
    var tree: [String] = []
    let folder = url.appending(path: path)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    where ![".locks", ".swiftlet"].contains(name) {
      let item = path.isEmpty ? name : "\(path)/\(name)"
      let place = url.appending(path: item).path
      if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: place) {
        tree.append("\(item) -> \(target)")
      } else {
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: place, isDirectory: &isFolder)
        tree += isFolder.boolValue ? try self.tree(item) : [item]
      }
    }
    return tree
  }
}

/// A value that several threads change, one at a time.
package final class Recorder<Value: Sendable>: Sendable {
  private let value: Mutex<Value>

  package init(_ value: Value) { self.value = Mutex(value) }

  package func withLock<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
    value.withLock { value in body(&value) }
  }
}
