import Diagnostics
import Essentials
import OrderedJSON

/// The files of a repository at one commit.
struct RemoteListing: Sendable {
  /// The name of the snapshot folder.
  let commit: String
  let files: [RemoteFile]
}

/// A file of a repository. Hugging Face reports size and hash only in the response for the file itself.
struct RemoteFile: Sendable {
  let path: String
  let url: String
  var size: Int?
  /// The name of the blob: the hash of the content if the service reports one.
  var etag: String?

  /// The expected hash: SHA-256 for files in large-file storage, git's SHA-1 for others.
  var digest: ContentDigest? { etag.flatMap(ContentDigest.init) }
}

/// The hash that a file must have.
enum ContentDigest: Sendable, Hashable {
  case sha256(String)
  case gitSHA1(String)

  init?(etag: String) {
    let isHexadecimal = etag.utf8.allSatisfy { isASCIIAlphanumeric($0) } && etag.allSatisfy(\.isHexDigit)
    switch (isHexadecimal, etag.utf8.count) {
    case (true, 64): self = .sha256(etag.lowercased())
    case (true, 40): self = .gitSHA1(etag.lowercased())
    default: return nil
    }
  }

  /// Whether the file has this hash. Takes seconds for large files.
  func matches(_ url: URL, size: Int) throws -> Bool {
    let file = try OpenFile(url.path)
    let (digest, expected): (MessageDigest, String)
    switch self {
    case .sha256(let hash): (digest, expected) = (try MessageDigest(.sha256), hash)
    case .gitSHA1(let hash):
      (digest, expected) = (try MessageDigest(.sha1), hash)
      try digest.update(Data("blob \(size)\0".utf8))
    }
    try digest.update(file)
    return try digest.hexadecimal() == expected
  }
}

extension HubConnection {
  /// The files of a repository at a revision.
  func listing(_ revision: String, _ kind: RepositoryKind) async throws(SwiftletError) -> RemoteListing {
    switch settings.service {
    case .huggingFace: try await huggingFaceListing(revision, kind)
    case .modelScope: try await modelScopeListing(revision, kind)
    }
  }

  /// Adds the size and hash of a file if the listing lacks them.
  func described(_ file: RemoteFile) async throws(SwiftletError) -> RemoteFile {
    if file.etag != nil { return file }
    let head = try await head(of: file.url)
    guard let etag = head["X-Linked-Etag"] ?? head["ETag"] else {
      throw SwiftletError.hub(
        "\(repository)",
        "the service sends no ETag for \(file.path.escapedLine(limit: 200)); set HF_ENDPOINT to another mirror")
    }
    var described = file
    described.etag = try Self.blobName(etag)
    let length = head["X-Linked-Size"] ?? (head.status >= 300 ? nil : head["Content-Length"])
    described.size = length.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
    return described
  }

  /// An ETag without its quotation marks, hashed if it is not a safe file name.
  private static func blobName(_ etag: String) throws(SwiftletError) -> String {
    let bare = etag.drop { $0 == "W" || $0 == "/" || $0 == "\"" }.prefix { $0 != "\"" }
    let isName =
      !bare.isEmpty && bare.utf8.count <= 128 && bare.utf8.allSatisfy { isASCIIAlphanumeric($0) || $0 == 0x2D }
    if isName { return String(bare) }
    return try "etag-" + MessageDigest.hexadecimal(.sha256, Data(etag.utf8))
  }

  private func json(_ url: String) async throws(SwiftletError) -> JSONValue {
    let content = try await content(of: url)
    do {
      return try JSONValue(parsing: Array(content))
    } catch {
      throw SwiftletError.hub(
        "\(repository)", "the service sent invalid JSON (\(error)); check \(settings.endpointVariable)")
    }
  }

  private func huggingFaceListing(_ revision: String, _ kind: RepositoryKind) async throws(SwiftletError)
    -> RemoteListing
  {
    let api = "\(settings.endpoint)/api/\(kind.rawValue)s/\(repository)/revision/\(percentEncoded(revision))"
    let answer = try await json(api)
    guard let commit = answer["sha"]?.string, commit.utf8.count == 40, commit.allSatisfy(\.isHexDigit),
      let siblings = answer["siblings"]?.array
    else { throw SwiftletError.hub("\(repository)", "the service sent no list of files; check HF_ENDPOINT") }
    let prefix = kind == .dataset ? "datasets/" : ""
    let files = siblings.compactMap { sibling -> RemoteFile? in
      guard let path = sibling["rfilename"]?.string else { return nil }
      let place = "\(prefix)\(repository)/resolve/\(commit)/\(percentEncoded(path, keepingSlashes: true))"
      return RemoteFile(path: path, url: "\(settings.endpoint)/\(place)")
    }
    return RemoteListing(commit: commit, files: files)
  }

  /// ModelScope reports no commit here, so a hash of the file list names the snapshot.
  private func modelScopeListing(_ revision: String, _ kind: RepositoryKind) async throws(SwiftletError)
    -> RemoteListing
  {
    let base = "\(settings.endpoint)/api/v1/\(kind.rawValue)s/\(repository)/repo"
    let query = "Revision=\(percentEncoded(revision))"
    var files: [RemoteFile] = []
    let pageSize = 200
    for page in 1...500 {
      let list = kind == .model ? "files?\(query)" : "tree?\(query)&PageSize=\(pageSize)&PageNumber=\(page)"
      let answer = try await json("\(base)/\(list)&Recursive=True")
      guard let entries = answer["Data"]?["Files"]?.array else {
        let message = answer["Message"]?.string ?? "no list of files"
        throw SwiftletError.hub(
          "\(repository)",
          "the service answered with an error: \(message.escapedLine(limit: 200)); check the name and the revision")
      }
      for entry in entries where entry["Type"]?.string != "tree" {
        guard let path = entry["Path"]?.string else { continue }
        let size = entry["Size"]?.integer.flatMap { $0 >= 0 ? $0 : nil }
        let key = "\(path) \(size ?? -1) \(entry["Revision"]?.string ?? "")"
        let known = entry["Sha256"]?.string.flatMap { ContentDigest(etag: $0) == nil ? nil : $0.lowercased() }
        let hash = try MessageDigest.hexadecimal(.sha256, Data(key.utf8))
        files.append(
          RemoteFile(
            path: path, url: "\(base)?\(query)&FilePath=\(percentEncoded(path))", size: size,
            etag: known ?? "key-" + hash))
      }
      if kind == .model || entries.count < pageSize { break }
    }
    let content = files.map { "\($0.path) \($0.etag ?? "")\n" }.sorted().joined()
    let commit = try MessageDigest.hexadecimal(.sha256, Data(content.utf8)).prefix(40)
    return RemoteListing(commit: String(commit), files: files)
  }
}
