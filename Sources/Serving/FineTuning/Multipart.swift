/// A body of `multipart/form-data` (RFC 7578), as browsers and OpenAI's clients upload files.
struct Multipart {
  /// One field of the form.
  struct Part {
    var name: String
    var filename: String?
    var content: ArraySlice<UInt8>
  }

  private(set) var parts: [Part] = []
  private static let mostParts = 32
  private static let mostHeaderBytes = 8192

  /// - Throws: `APIError` for a body of another type or form.
  init(_ request: HTTPRequest) throws(APIError) {
    let type = request.header("Content-Type") ?? ""
    guard type.lowercased().hasPrefix("multipart/form-data"), let boundary = Self.parameter("boundary", of: type),
      (1...70).contains(boundary.utf8.count)
    else { throw .invalidRequest("The body must be multipart/form-data.") }
    let body = request.body
    let delimiter = Array("\r\n--\(boundary)".utf8)
    // The first delimiter has no line break before it.
    guard body.starts(with: delimiter.dropFirst(2)) else { throw Self.malformed }
    var place = delimiter.count - 2
    while !body[place...].starts(with: [UInt8(ascii: "-"), UInt8(ascii: "-")]) {
      guard body[place...].starts(with: [13, 10]), parts.count < Self.mostParts,
        let end = Self.find(delimiter, in: body[...], from: place)
      else { throw Self.malformed }
      try add(body[(place + 2)..<max(place + 2, end)])
      place = end + delimiter.count
    }
  }

  /// The content of a field as text.
  func text(_ name: String) -> String? {
    parts.first { $0.name == name }.flatMap { String(validating: $0.content, as: UTF8.self) }
  }

  private static var malformed: APIError { .invalidRequest("The body is malformed multipart/form-data.") }

  private mutating func add(_ part: ArraySlice<UInt8>) throws(APIError) {
    let blank: [UInt8] = [13, 10, 13, 10]
    guard let end = Self.find(blank, in: part, from: part.startIndex), end - part.startIndex <= Self.mostHeaderBytes
    else { throw Self.malformed }
    let lines = String(decoding: part[..<end], as: UTF8.self).split(separator: "\r\n")
    let disposition = lines.first { $0.lowercased().hasPrefix("content-disposition:") }.map(String.init) ?? ""
    guard let name = Self.parameter("name", of: disposition) else { throw Self.malformed }
    parts.append(
      Part(name: name, filename: Self.parameter("filename", of: disposition), content: part[(end + blank.count)...]))
  }

  /// The value of a parameter such as `name="file"`.
  private static func parameter(_ name: String, of header: String) -> String? {
    for item in header.split(separator: ";").dropFirst() {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { $0.trimmed }
      if parts.count == 2, parts[0].lowercased() == name { return parts[1].trimmed { $0 == "\"" } }
    }
    return nil
  }

  /// The first place of a pattern at or after `start`.
  private static func find(_ pattern: [UInt8], in bytes: ArraySlice<UInt8>, from start: Int) -> Int? {
    bytes.withUnsafeBufferPointer { buffer in
      var place = start - bytes.startIndex
      while place <= buffer.count - pattern.count {
        if buffer[place] == pattern[0], buffer[place...].starts(with: pattern) { return place + bytes.startIndex }
        place += 1
      }
      return nil
    }
  }
}
