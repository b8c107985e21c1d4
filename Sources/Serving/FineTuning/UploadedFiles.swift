import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON

/// `/v1/files`: files that clients have uploaded, in a folder.
struct UploadedFiles {
  private let folder: URL
  /// What OpenAI's API tells of each file, the oldest first.
  private(set) var entries: [JSONObject] = []

  private static let mostFiles = 1000

  /// Reads what is there from earlier starts.
  /// - Throws: `SwiftletError` if the folder can't be created.
  init(_ folder: URL) throws(SwiftletError) {
    self.folder = folder
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.training("\(folder.path) can't be created; choose another folder")
    }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for name in names where name.hasSuffix(".json") {
      let bytes = try? RegularFile.contents(of: folder.appendingPathComponent(name), sizeLimit: 1 << 20)
      if let bytes, let entry = try? JSONValue(parsing: bytes).object, entry["id"]?.string == String(name.dropLast(5)) {
        entries.append(entry)
      }
    }
    entries.sort { ($0["created_at"]?.integer ?? 0) < ($1["created_at"]?.integer ?? 0) }
  }

  /// The rows of a file; its name has nothing of what a client sent.
  func url(of id: String) -> URL { folder.appendingPathComponent(id + ".jsonl") }

  private func description(of id: String) -> URL { folder.appendingPathComponent(id + ".json") }

  /// - Throws: `APIError` if there is no such file.
  func entry(_ id: String) throws(APIError) -> JSONObject {
    guard let entry = entries.first(where: { $0["id"]?.string == id }) else {
      throw .notFound("There is no file \(id.quotedExcerpt).")
    }
    return entry
  }

  /// Keeps an uploaded file.
  /// - Throws: `APIError` for one that can't be used, or `SwiftletError` if it can't be saved.
  mutating func add(_ form: Multipart) throws -> JSONObject {
    guard let file = form.parts.first(where: { $0.name == "file" }) else {
      throw APIError.invalidRequest("\"file\" is missing.", parameter: "file")
    }
    let purpose = form.text("purpose") ?? ""
    guard purpose == "fine-tune" else {
      throw APIError.invalidRequest("\"purpose\" must be \"fine-tune\".", parameter: "purpose")
    }
    guard entries.count < Self.mostFiles else {
      throw APIError.conflict("There are \(Self.mostFiles) files already; delete some.")
    }
    let id = "file-" + FineTuningJobs.randomName()
    let entry = JSONObject([
      ("id", .string(id)), ("object", "file"), ("bytes", .integer(file.content.count)),
      ("created_at", .integer(Int(Date().timeIntervalSince1970))), ("expires_at", nil),
      ("filename", .string(String((file.filename ?? "rows.jsonl").prefix(255)))), ("purpose", "fine-tune"),
      ("status", "processed"), ("status_details", nil),
    ])
    try AtomicFile.write(Array(file.content), to: url(of: id))
    try AtomicFile.write(JSONValue.object(entry).text() + "\n", to: description(of: id))
    entries.append(entry)
    return entry
  }

  /// - Throws: `APIError` if there is no such file.
  mutating func remove(_ id: String) throws(APIError) {
    _ = try entry(id)
    unlink(url(of: id).path)
    unlink(description(of: id).path)
    entries.removeAll { $0["id"]?.string == id }
  }
}
