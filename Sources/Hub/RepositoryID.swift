import Diagnostics

/// The kind of a repository.
public enum RepositoryKind: String, Sendable, Hashable {
  /// A repository of weights, configuration and tokenizer.
  case model
  /// A repository of data files.
  case dataset
}

/// The name of a repository: `org/name`, or only `name` for the oldest models.
public struct RepositoryID: Sendable, Hashable, CustomStringConvertible {
  /// The name as the service spells it, such as "org/name".
  public let description: String

  /// Parses a name: one or two parts of ASCII letters, digits, `-`, `_` and `.`.
  /// - Throws: `SwiftletError` for anything else, so a name can never point outside the cache folder.
  public init(_ text: String) throws(SwiftletError) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isName = (1...2).contains(parts.count) && parts.allSatisfy(Self.isPart) && text.utf8.count <= 200
    guard isName, !text.contains("--"), !text.contains("..") else {
      throw SwiftletError.hub(text.quotedExcerpt, "not a repository name; use the form org/name")
    }
    description = text
  }

  /// Whether `text` has the form `org/name` rather than that of a path.
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

/// Whether an untrusted path stays below the folder it is appended to.
func isSafeRelativePath(_ path: String) -> Bool {
  path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
    !part.isEmpty && part != "." && part != ".." && part.utf8.count <= 255
      && !part.utf8.contains { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "\\") }
  }
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
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
