import Crypto
import Foundation
import NIOConcurrencyHelpers
import NIOHTTP1
import OrderedJSON

/// A repository as Hugging Face serves it, with faults put in front.
final class FakeRepository: Sendable {
  static let commit = "0123456789abcdef0123456789abcdef01234567"

  let files: [String: [UInt8]]
  let prefix: String
  private let faults = NIOLockedValueBox<[String: [@Sendable (Answer) -> Answer]]>([:])

  init(_ files: [String: [UInt8]], prefix: String = "") {
    self.files = files
    self.prefix = prefix
  }

  private static let weights = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }

  /// The files of a small model, with copies of the weights that are not wanted. The weights take 300,000 bytes.
  static func model() -> FakeRepository {
    FakeRepository([
      "config.json": Array(#"{"model_type":"llama"}"#.utf8), "tokenizer.json": Array("{}".utf8),
      "tokenizer_config.json": Array(#"{"说明":"中文"}"#.utf8), "chat_template.jinja": Array("{{ messages }}".utf8),
      "model.safetensors": weights, "pytorch_model.bin": [1, 2, 3], "onnx/model.onnx": [4], "README.md": [5],
      "original/consolidated.pth": [6],
    ])
  }

  /// Changes the next answers to requests for this path and method, one change an answer.
  func fail(_ method: HTTPMethod, _ path: String, _ changes: (@Sendable (Answer) -> Answer)...) {
    faults.withLockedValue { $0["\(method) \(path)", default: []] += changes }
  }

  /// Changes all further answers to requests for this path and method.
  func failAlways(_ method: HTTPMethod, _ path: String, _ change: @escaping @Sendable (Answer) -> Answer) {
    faults.withLockedValue { $0["\(method) \(path)"] = Array(repeating: change, count: 100) }
  }

  func restore() { faults.withLockedValue { $0 = [:] } }

  static func sha256(_ content: [UInt8]) -> String { hexadecimal(SHA256.hash(data: content)) }

  static func gitHash(_ content: [UInt8]) -> String {
    hexadecimal(Insecure.SHA1.hash(data: Array("blob \(content.count)\0".utf8) + content))
  }

  /// The name of the blob: the SHA-256 of weights, the hash in git of anything else.
  static func etag(_ path: String, _ content: [UInt8]) -> String {
    isLarge(path) ? sha256(content) : gitHash(content)
  }

  private static func isLarge(_ path: String) -> Bool { path.hasSuffix(".safetensors") || path.hasSuffix(".gguf") }

  private static func hexadecimal(_ digest: some Sequence<UInt8>) -> String {
    digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// "list" for the list of files, else the path of the file asked for.
  private func subject(_ request: Request) -> String? {
    let kind = prefix.isEmpty ? "models" : "datasets"
    if request.path.hasPrefix("/api/\(kind)/org/name/revision/") { return "list" }
    let resolve = "\(prefix)/org/name/resolve/\(Self.commit)/"
    guard request.path.hasPrefix(resolve) else { return nil }
    return String(request.path.dropFirst(resolve.count)).removingPercentEncoding
  }

  @Sendable func answer(_ request: Request) -> Answer {
    guard let subject = subject(request) else { return .status(.notFound) }
    let change = faults.withLockedValue { faults -> (@Sendable (Answer) -> Answer)? in
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

  func file(_ path: String, _ request: Request) -> Answer {
    guard let content = files[path] else { return .status(.notFound, [("X-Error-Code", "EntryNotFound")]) }
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
    let range = request.headers.first(name: "Range")
    let start = range.flatMap { Int($0.dropFirst("bytes=".count).dropLast()) } ?? 0
    if start >= content.count, range != nil { return .status(.rangeNotSatisfiable) }
    answer.body = Array(content[start...])
    if range != nil {
      answer.status = .partialContent
      answer.headers.append(("Content-Range", "bytes \(start)-\(content.count - 1)/\(content.count)"))
    }
    return answer
  }
}

/// A cache folder that is removed when the test ends.
final class TemporaryCache: Sendable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "hub-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// Paths below the folder, links marked with their targets, without lock files.
  func tree(_ path: String = "") throws -> [String] {
    var tree: [String] = []
    let folder = url.appending(path: path)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() where name != ".locks" {
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
