import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON

/// Uploads files to a repository as one commit, as `huggingface_hub` does: large ones through Git LFS, the others within
/// the commit.
struct HubUpload {
  /// A file on its way.
  private struct Item {
    let path: String
    let file: OpenFile
    let size: Int
    /// The SHA-256 in hexadecimal digits.
    var hash = ""
    var isLarge = false
    var isIgnored = false
  }

  let connection: HubConnection
  let revision: String

  private var settings: HubSettings { connection.settings }
  private var repository: String { connection.repository.description }
  private static let json = [(name: "Content-Type", value: "application/json")]
  /// Of requests to Git LFS.
  private static let lfs = ["Content-Type", "Accept"].map { (name: $0, value: "application/vnd.git-lfs+json") }
  /// What the service looks at to tell text from data.
  private static let sampleBytes = 512

  /// Creates the repository unless it exists.
  func create(isPrivate: Bool) async throws(SwiftletError) {
    let parts = repository.split(separator: "/").map(String.init)
    var body = JSONObject([("name", .string(parts.last ?? "")), ("type", "model"), ("private", .bool(isPrivate))])
    if parts.count == 2 { body["organization"] = .string(parts[0]) }
    _ = try await post(.object(body), to: "\(settings.endpoint)/api/repos/create", accepting: [409])
  }

  /// Uploads files of a folder.
  /// - Parameters:
  ///   - names: their paths below the folder, which they keep.
  ///   - message: the message of the commit.
  ///   - progress: called with the number of bytes of large files uploaded and of all.
  /// - Returns: the id of the commit.
  func run(
    _ folder: URL, _ names: [String], message: String, progress: @Sendable (_ done: Int, _ total: Int) -> Void
  ) async throws(SwiftletError) -> String {
    var items: [Item] = []
    for name in names {
      let file = try RegularFile.handle(forReadingFrom: folder.appendingPathComponent(name), domain: .hub)
      let size = fileSize(atPath: folder.appendingPathComponent(name).path) ?? 0
      items.append(Item(path: name, file: file, size: size))
    }
    try await askModes(&items)
    items.removeAll(where: \.isIgnored)
    for index in items.indices where items[index].isLarge { items[index].hash = try Self.hash(items[index]) }
    try await uploadLarge(items.filter(\.isLarge), progress)
    return try await commit(items, message)
  }

  private func post(
    _ json: JSONValue, to url: String, headers: [(name: String, value: String)] = Self.json, accepting: Set<Int> = []
  ) async throws(SwiftletError) -> JSONValue {
    let (_, content) = try await connection.send(
      .bytes(Data(json.text(.compact).utf8)), .post, to: url, headers: headers,
      accepting: accepting)
    return (try? JSONValue(parsing: content)) ?? .null
  }

  private var malformed: SwiftletError {
    SwiftletError.hub(repository, "the service's answer is malformed; check HF_ENDPOINT")
  }

  // MARK: Steps

  /// Asks which files go through LFS.
  private func askModes(_ items: inout [Item]) async throws(SwiftletError) {
    var files: [JSONValue] = []
    for item in items {
      let sample: Data
      do {
        try item.file.seek(to: 0)
        sample = try item.file.read(upTo: Self.sampleBytes)
      } catch {
        throw SwiftletError.hub(item.path, "cannot be read: \(error.reason)")
      }
      files.append([
        "path": .string(item.path), "size": .integer(item.size), "sample": .string(sample.base64EncodedString()),
      ])
    }
    let url = "\(settings.endpoint)/api/models/\(repository)/preupload/\(percentEncoded(revision))"
    let answer = try await post(["files": .array(files)], to: url)
    guard let modes = answer["files"]?.array else { throw malformed }
    for index in items.indices {
      guard let mode = modes.first(where: { $0["path"]?.string == items[index].path }) else { throw malformed }
      // An empty file can't be stored with LFS.
      items[index].isLarge = mode["uploadMode"]?.string == "lfs" && items[index].size > 0
      items[index].isIgnored = mode["shouldIgnore"]?.bool == true
    }
  }

  private static func hash(_ item: Item) throws(SwiftletError) -> String {
    let digest = try MessageDigest(.sha256)
    do {
      try item.file.seek(to: 0)
      try digest.update(item.file)
    } catch let error as FileFailure {
      throw SwiftletError.hub(item.path, "cannot be read: \(error.reason)")
    } catch let error as SwiftletError {
      throw error
    } catch {
      throw SwiftletError.hub(item.path, "cannot be read: \(error)")
    }
    return try digest.hexadecimal()
  }

  /// Uploads what the service's store doesn't have yet.
  private func uploadLarge(
    _ items: [Item], _ progress: @Sendable (_ done: Int, _ total: Int) -> Void
  ) async throws(SwiftletError) {
    guard !items.isEmpty else { return }
    let objects = items.map { JSONValue.object(["oid": .string($0.hash), "size": .integer($0.size)]) }
    let body: JSONValue = [
      "operation": "upload", "transfers": ["basic", "multipart"], "objects": .array(objects), "hash_algo": "sha256",
      "ref": ["name": .string(revision)],
    ]
    let answer = try await post(
      body, to: "\(settings.endpoint)/\(repository).git/info/lfs/objects/batch", headers: Self.lfs)
    guard let actions = answer["objects"]?.array else { throw malformed }
    let total = items.reduce(0) { $0 + $1.size }
    var done = 0
    for item in items {
      guard let object = actions.first(where: { $0["oid"]?.string == item.hash }) else { throw malformed }
      if let error = object["error"]?["message"]?.string {
        throw SwiftletError.hub(repository, "the service refuses \(item.path): \(error.escapedLine(limit: 200))")
      }
      if let upload = object["actions"]?["upload"] { try await send(item, upload) }
      if let verify = object["actions"]?["verify"]?["href"]?.string {
        _ = try await post(
          ["oid": .string(item.hash), "size": .integer(item.size)], to: verify, headers: Self.lfs)
      }
      done += item.size
      progress(done, total)
    }
  }

  private func send(_ item: Item, _ upload: JSONValue) async throws(SwiftletError) {
    guard let url = upload["href"]?.string else { throw malformed }
    let headers = (upload["header"]?.object?.members ?? []).compactMap { member in
      member.value.string.map { (name: member.key, value: $0) }
    }
    guard let text = headers.first(where: { $0.name == "chunk_size" })?.value else {
      _ = try await connection.send(.file(item.file, 0..<item.size), .put, to: url, headers: headers)
      return
    }
    // Several parts, each with an address of its own: the headers 00001, 00002 and so on.
    guard let size = Int(text), size > 0 else { throw malformed }
    var parts: [JSONValue] = []
    for (index, start) in stride(from: 0, to: item.size, by: size).enumerated() {
      guard let part = headers.first(where: { Int($0.name) == index + 1 })?.value else { throw malformed }
      let range = start..<min(start + size, item.size)
      let (head, _) = try await connection.send(.file(item.file, range), .put, to: part, headers: [])
      guard let tag = head["ETag"] else { throw malformed }
      parts.append(["partNumber": .integer(index + 1), "etag": .string(tag)])
    }
    _ = try await post(["oid": .string(item.hash), "parts": .array(parts)], to: url, headers: Self.lfs)
  }

  private func commit(_ items: [Item], _ message: String) async throws(SwiftletError) -> String {
    var lines: [JSONValue] = [
      ["key": "header", "value": ["summary": .string(message), "description": ""]]
    ]
    for item in items {
      if item.isLarge {
        lines.append([
          "key": "lfsFile",
          "value": [
            "path": .string(item.path), "algo": "sha256", "oid": .string(item.hash), "size": .integer(item.size),
          ],
        ])
        continue
      }
      let content: Data
      do {
        try item.file.seek(to: 0)
        content = try item.file.readToEnd()
      } catch {
        throw SwiftletError.hub(item.path, "cannot be read: \(error.reason)")
      }
      lines.append([
        "key": "file",
        "value": [
          "path": .string(item.path), "encoding": "base64", "content": .string(content.base64EncodedString()),
        ],
      ])
    }
    let body = lines.map { $0.text(.compact) + "\n" }.joined()
    let (_, content) = try await connection.send(
      .bytes(Data(body.utf8)), .post,
      to: "\(settings.endpoint)/api/models/\(repository)/commit/\(percentEncoded(revision))",
      headers: [("Content-Type", "application/x-ndjson")])
    guard let commit = (try? JSONValue(parsing: content))?["commitOid"]?.string else { throw malformed }
    return commit
  }
}

extension Hub {
  /// Uploads the files of a folder to a model repository, which is created if it doesn't exist. Hidden files and folders
  /// stay behind.
  /// - Parameters:
  ///   - folder: the folder with the files.
  ///   - name: `org/name`, or only `name` for one of the token's own user.
  ///   - revision: a branch.
  ///   - isPrivate: whether a new repository is private.
  ///   - message: the message of the commit.
  ///   - progress: called with the number of bytes of large files uploaded and of all.
  /// - Returns: the address of the repository.
  /// - Throws: `SwiftletError` if a file can't be read or the service refuses. Nothing is committed then.
  @discardableResult public func upload(
    _ folder: URL, to name: String, revision: String = "main", isPrivate: Bool = false, message: String,
    progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) async throws(SwiftletError) -> String {
    try checkUpload(to: name, revision: revision)
    let names = Self.uploadedFiles(in: folder)
    guard !names.isEmpty else { throw SwiftletError.hub(folder.path, "there are no files to upload") }
    let repository = try await qualified(RepositoryID(name))
    let upload = HubUpload(
      connection: HubConnection(settings: settings, policy: policy, repository: repository), revision: revision)
    try await upload.create(isPrivate: isPrivate)
    _ = try await upload.run(folder, names, message: message, progress: progress)
    return "\(settings.endpoint)/\(repository)"
  }

  /// Checks what an upload needs without asking the service, for a run that uploads its result in hours.
  /// - Throws: `SwiftletError` for a malformed name, or if there is no token.
  public func checkUpload(to name: String, revision: String = "main") throws(SwiftletError) {
    _ = try RepositoryID(name)
    guard settings.service == .huggingFace else {
      throw SwiftletError.hub(name, "uploads go to Hugging Face or its mirrors only; unset USE_MODELSCOPE_HUB")
    }
    if settings.isOffline { throw SwiftletError.hub(name, "HF_HUB_OFFLINE is set; unset it to upload") }
    guard settings.token != nil else {
      throw SwiftletError.hub(name, HubConnection.tokenRequest)
    }
    guard isSafeRelativePath(revision) else {
      throw SwiftletError.hub(revision.quotedExcerpt, "not a valid revision; use the name of a branch")
    }
  }

  /// The files directly in a folder that others can use.
  private static func uploadedFiles(in folder: URL) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.filter { name in
      // The recipe of a run that the board started has paths of this machine.
      !name.hasPrefix(".") && name != "recipe.yaml" && name != "job.json"
        && RegularFile.exists(atPath: folder.appendingPathComponent(name).path)
    }.sorted()
  }

  private func qualified(_ repository: RepositoryID) async throws(SwiftletError) -> RepositoryID {
    if repository.description.contains("/") { return repository }
    let connection = HubConnection(settings: settings, policy: policy, repository: repository)
    let answer = try await connection.content(of: "\(settings.endpoint)/api/whoami-v2")
    guard let user = (try? JSONValue(parsing: answer))?["name"]?.string else {
      throw SwiftletError.hub(repository.description, "nothing tells the user of the token; use the form org/name")
    }
    return try RepositoryID("\(user)/\(repository)")
  }
}
