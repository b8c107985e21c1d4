import AsyncHTTPClient
import Crypto
import Foundation
import NIOHTTP1
import OrderedJSON

/// What a repository holds at one commit.
struct RemoteListing: Sendable {
  /// The name of the snapshot's folder.
  let commit: String
  let files: [RemoteFile]
}

/// A file of a repository. Hugging Face tells size and hash only when asked for the file itself.
struct RemoteFile: Sendable {
  let path: String
  let url: String
  var size: Int?
  /// The name of the blob: a hash of the content wherever the service tells one.
  var etag: String?

  /// How the content can be checked: files in large-file storage go by their SHA-256, others by their hash in git.
  var digest: ContentDigest? { etag.flatMap(ContentDigest.init) }
}

/// A hash that a content must have.
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

  /// Whether the file has this hash.
  func matches(_ url: URL, size: Int) throws -> Bool {
    let file = try FileHandle(forReadingFrom: url)
    defer { try? file.close() }
    switch self {
    case .sha256(let expected): return try Self.hash(SHA256(), file) == expected
    case .gitSHA1(let expected):
      var hash = Insecure.SHA1()
      hash.update(data: Data("blob \(size)\0".utf8))
      return try Self.hash(hash, file) == expected
    }
  }

  private static func hash(_ start: some HashFunction, _ file: FileHandle) throws -> String {
    var hash = start
    while let part = try file.read(upToCount: 4 << 20), !part.isEmpty { hash.update(data: part) }
    return hexadecimal(hash.finalize())
  }

  static func hexadecimal(_ digest: some Sequence<UInt8>) -> String {
    digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

extension HubConnection {
  /// The files of a repository at a revision.
  func listing(_ revision: String, _ kind: RepositoryKind) async throws(HubError) -> RemoteListing {
    switch settings.service {
    case .huggingFace: try await huggingFaceListing(revision, kind)
    case .modelScope: try await modelScopeListing(revision, kind)
    }
  }

  /// Completes what the listing does not tell about a file.
  func described(_ file: RemoteFile) async throws(HubError) -> RemoteFile {
    if file.etag != nil { return file }
    let (headers, isRedirect) = try await headers(of: file.url)
    guard let etag = headers.first(name: "X-Linked-Etag") ?? headers.first(name: "ETag") else {
      throw HubError("\(repository)", "the service sends no ETag for \(excerpt(file.path)); choose another HF_ENDPOINT")
    }
    var described = file
    described.etag = Self.blobName(etag)
    let length = headers.first(name: "X-Linked-Size") ?? (isRedirect ? nil : headers.first(name: "Content-Length"))
    described.size = length.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
    return described
  }

  /// An ETag without its quotation marks; hashed where it could not be the name of a file.
  private static func blobName(_ etag: String) -> String {
    let bare = etag.drop { $0 == "W" || $0 == "/" || $0 == "\"" }.prefix { $0 != "\"" }
    let isName =
      !bare.isEmpty && bare.utf8.count <= 128 && bare.utf8.allSatisfy { isASCIIAlphanumeric($0) || $0 == 0x2D }
    return isName ? String(bare) : "etag-" + ContentDigest.hexadecimal(SHA256.hash(data: Data(etag.utf8)))
  }

  private func json(_ url: String) async throws(HubError) -> JSONValue {
    let content = try await content(of: url)
    do {
      return try JSONValue(parsing: content)
    } catch {
      throw HubError("\(repository)", "the service answered with no JSON (\(error)); check the endpoint")
    }
  }

  private func huggingFaceListing(_ revision: String, _ kind: RepositoryKind) async throws(HubError) -> RemoteListing {
    let api = "\(settings.endpoint)/api/\(kind.rawValue)s/\(repository)/revision/\(percentEncoded(revision))"
    let answer = try await json(api)
    guard let commit = answer["sha"]?.string, commit.utf8.count == 40, commit.allSatisfy(\.isHexDigit),
      let siblings = answer["siblings"]?.array
    else { throw HubError("\(repository)", "the service sends no list of files; check HF_ENDPOINT") }
    let prefix = kind == .dataset ? "datasets/" : ""
    let files = siblings.compactMap { sibling -> RemoteFile? in
      guard let path = sibling["rfilename"]?.string else { return nil }
      let place = "\(prefix)\(repository)/resolve/\(commit)/\(percentEncoded(path, keepingSlashes: true))"
      return RemoteFile(path: path, url: "\(settings.endpoint)/\(place)")
    }
    return RemoteListing(commit: commit, files: files)
  }

  /// ModelScope tells no commit here, so a snapshot goes by a hash of what it holds.
  private func modelScopeListing(_ revision: String, _ kind: RepositoryKind) async throws(HubError) -> RemoteListing {
    let base = "\(settings.endpoint)/api/v1/\(kind.rawValue)s/\(repository)/repo"
    let query = "Revision=\(percentEncoded(revision))"
    var files: [RemoteFile] = []
    let pageSize = 200
    for page in 1...500 {
      let list = kind == .model ? "files?\(query)" : "tree?\(query)&PageSize=\(pageSize)&PageNumber=\(page)"
      let answer = try await json("\(base)/\(list)&Recursive=True")
      guard let entries = answer["Data"]?["Files"]?.array else {
        let message = answer["Message"]?.string ?? "it sends no list of files"
        throw HubError("\(repository)", "the service refuses: \(excerpt(message)); check the name and the revision")
      }
      for entry in entries where entry["Type"]?.string != "tree" {
        guard let path = entry["Path"]?.string else { continue }
        let size = entry["Size"]?.integer.flatMap { $0 >= 0 ? $0 : nil }
        let key = "\(path) \(size ?? -1) \(entry["Revision"]?.string ?? "")"
        let hash = entry["Sha256"]?.string.flatMap { ContentDigest(etag: $0) == nil ? nil : $0.lowercased() }
        files.append(
          RemoteFile(
            path: path, url: "\(base)?\(query)&FilePath=\(percentEncoded(path))", size: size,
            etag: hash ?? "key-" + ContentDigest.hexadecimal(SHA256.hash(data: Data(key.utf8)))))
      }
      if kind == .model || entries.count < pageSize { break }
    }
    let content = files.map { "\($0.path) \($0.etag ?? "")\n" }.sorted().joined()
    let commit = ContentDigest.hexadecimal(SHA256.hash(data: Data(content.utf8))).prefix(40)
    return RemoteListing(commit: String(commit), files: files)
  }
}
