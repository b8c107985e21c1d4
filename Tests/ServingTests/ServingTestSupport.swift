import Diagnostics
import Foundation
import Models
import OrderedJSON
import Serving
import TestSupport

/// A tiny Llama with a tokenizer and a ChatML template, as a folder that can be opened by path.
enum TinyFolder {
  static let url: URL = {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-serving-\(UUID().uuidString)")
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for source in ["models/llama", "models/tokenizer"] {
      let from = TinyModel.folder.appendingPathComponent(source)
      for name in (try? FileManager.default.contentsOfDirectory(atPath: from.path)) ?? [] where name != "golden.json" {
        try? FileManager.default.copyItem(
          at: from.appendingPathComponent(name), to: folder.appendingPathComponent(name))
      }
    }
    return folder
  }()

  static func engine(_ ids: [String] = ["tiny"]) async throws -> GenerationEngine {
    let engine = GenerationEngine()
    try await engine.open(ids.map { ModelSource(id: $0, url: url) })
    return engine
  }
}

extension APIServer {
  func post(_ path: String, _ body: JSONValue) async throws -> (status: Int, json: JSONValue) {
    let response = await respond(
      to: HTTPRequest(method: "POST", target: path, body: Array(body.text(.compact).utf8)))
    guard case .bytes(let bytes) = response.body else { throw SwiftletError.model("the response is a stream") }
    return (response.status, try JSONValue(parsing: bytes))
  }

  /// The data of server-sent events.
  func events(_ path: String, _ body: JSONValue) async throws -> [String] {
    let response = await respond(
      to: HTTPRequest(method: "POST", target: path, body: Array(body.text(.compact).utf8)))
    guard case .stream(let chunks) = response.body else { throw SwiftletError.model("the response is no stream") }
    var bytes: [UInt8] = []
    for try await chunk in chunks { bytes += chunk }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").map { String($0.dropFirst("data: ".count)) }
  }
}
