/// What a repository holds.
public enum RepositoryKind: String, Sendable, Hashable {
  case model, dataset
}

/// The name of a repository, `org/name`, or `name` alone as of the oldest models.
public struct RepositoryID: Sendable, Hashable, CustomStringConvertible {
  /// "org/name".
  public let description: String

  /// Checks the form of a name: one or two parts of ASCII letters, digits, `-`, `_` and `.`.
  /// - Throws: `HubError` for anything else, which also keeps a name from leaving the cache's folder.
  public init(_ text: String) throws(HubError) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isName = (1...2).contains(parts.count) && parts.allSatisfy(Self.isPart) && text.utf8.count <= 200
    guard isName, !text.contains("--"), !text.contains("..") else {
      throw HubError("\"\(excerpt(text))\"", "is not the name of a repository; write org/name")
    }
    description = text
  }

  /// Whether `text` has the form of `org/name` with both parts, as opposed to a path.
  public static func isQualifiedName(_ text: String) -> Bool {
    text.split(separator: "/", omittingEmptySubsequences: false).count == 2 && (try? RepositoryID(text)) != nil
  }

  /// "models--org--name", the folder in the cache.
  func folderName(_ kind: RepositoryKind) -> String {
    "\(kind.rawValue)s--" + description.split(separator: "/").joined(separator: "--")
  }

  private static func isPart(_ part: Substring) -> Bool {
    guard let first = part.utf8.first, let last = part.utf8.last else { return false }
    let isPlain = part.utf8.allSatisfy { byte in
      isASCIIAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
    }
    func isEdge(_ byte: UInt8) -> Bool { byte != UInt8(ascii: "-") && byte != UInt8(ascii: ".") }
    return isPlain && isEdge(first) && isEdge(last)
  }
}

func isASCIIAlphanumeric(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
    UInt8(ascii: "A")...UInt8(ascii: "Z"):
    true
  default: false
  }
}

/// Whether a path from a stranger stays below the folder it is appended to.
func isSafeRelativePath(_ path: String) -> Bool {
  path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
    !part.isEmpty && part != "." && part != ".." && part.utf8.count <= 255
      && !part.utf8.contains { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "\\") }
  }
}

/// The text with everything but unreserved characters percent-encoded (RFC 3986).
func percentEncoded(_ text: String, keepingSlashes: Bool = false) -> String {
  var encoded = ""
  for byte in text.utf8 {
    if isASCIIAlphanumeric(byte) || "-._~".utf8.contains(byte) || keepingSlashes && byte == UInt8(ascii: "/") {
      encoded.unicodeScalars.append(Unicode.Scalar(byte))
    } else {
      let digits = String(byte, radix: 16, uppercase: true)
      encoded += "%" + (digits.count == 1 ? "0" : "") + digits
    }
  }
  return encoded
}
