import Diagnostics
import NIOHTTP1
import OrderedJSON

/// A request with its whole body, which `HTTPLimits` bounds.
package struct HTTPRequest: Sendable {
  package var method: String
  /// The path without the query, still percent-encoded.
  package var path: String
  package var query: String
  package var headers: HTTPHeaders
  package var body: [UInt8]

  package init(method: String, target: String, headers: HTTPHeaders = HTTPHeaders(), body: [UInt8] = []) {
    self.method = method
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = parts.first.map(String.init) ?? "/"
    query = parts.count > 1 ? String(parts[1]) : ""
    self.headers = headers
    self.body = body
  }

  /// The value of a header; `nil` unless it occurs exactly once.
  package func header(_ name: String) -> String? {
    let values = headers[name]
    return values.count == 1 ? values[0] : nil
  }

  /// The components of the path, decoded; `nil` if its percent-encoding is malformed.
  package var pathComponents: [String]? {
    let parts = path.split(separator: "/").map { String($0).percentDecoded }
    let decoded = parts.compactMap(\.self)
    return decoded.count == parts.count ? decoded : nil
  }

  /// The first value of a name in the query.
  package func queryValue(_ name: String) -> String? {
    for item in query.split(separator: "&") {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      if parts[0].percentDecoded == name {
        return parts.count > 1 ? parts[1].replacing("+", with: " ").percentDecoded : ""
      }
    }
    return nil
  }

  /// The body as JSON.
  /// - Throws: `APIError` if it is no JSON object.
  package func json() throws(APIError) -> JSONValue {
    do {
      let value = try JSONValue(parsing: body)
      if value.object != nil { return value }
    } catch {
      throw APIError.invalidRequest("The body is not valid JSON: \(error.reason).")
    }
    throw APIError.invalidRequest("The body must be a JSON object.")
  }
}

/// A response, complete or streamed.
package struct HTTPResponse: Sendable {
  package enum Body: Sendable {
    case bytes([UInt8])
    /// Chunks that are sent as they come.
    case stream(AsyncThrowingStream<[UInt8], any Error>)
  }

  package var status: Int
  package var headers: [(name: String, value: String)]
  package var body: Body

  package init(status: Int = 200, headers: [(name: String, value: String)] = [], body: Body = .bytes([])) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  /// A JSON document.
  package static func json(_ value: JSONValue, status: Int = 200) -> HTTPResponse {
    HTTPResponse(
      status: status, headers: [("Content-Type", "application/json; charset=utf-8")],
      body: .bytes(Array(value.finite.text(.compact).utf8)))
  }

  /// Server-sent events with the JSON objects that `body` sends, and then `[DONE]`, as in OpenAI's API.
  package static func events(
    _ body: @escaping @Sendable (_ send: @escaping @Sendable (JSONValue) -> Void) async throws -> Void
  ) -> HTTPResponse {
    let chunks = AsyncThrowingStream<[UInt8], any Error> { continuation in
      @Sendable func send(_ event: String) { continuation.yield(Array("data: \(event)\n\n".utf8)) }
      let task = Task {
        do {
          try await body { send($0.text(.compact)) }
          send("[DONE]")
        } catch {
          // The status has been sent; OpenAI's clients look for this member.
          send(APIError(error).json.text(.compact))
        }
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
    return HTTPResponse(
      headers: [("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache")],
      body: .stream(chunks))
  }
}

/// What a client may use of the server.
package struct HTTPLimits: Sendable {
  /// The most bytes of a body.
  package var bodyBytes = 64 << 20
  /// The most bytes of all names and values of headers.
  package var headerBytes = 32 << 10
  /// The most connections at a time; more are closed at once.
  package var connections = 512
  /// Seconds for a request's head, counted from the start of the connection or the last response.
  package var headSeconds: Int64 = 60
  /// Seconds for a request's body.
  package var bodySeconds: Int64 = 300
  /// Seconds that a client may leave a response unread.
  package var stalledSeconds: Int64 = 60

  package init() {}
}

extension String {
  /// The text without percent-encoding; `nil` if it is malformed.
  var percentDecoded: String? {
    var bytes: [UInt8] = []
    var rest = utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
        return nil
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }
}

extension JSONValue {
  /// The value with null for every number that JSON lacks, such as infinity.
  var finite: JSONValue {
    switch self {
    case .number(let number): number.isFinite ? self : .null
    case .array(let elements): .array(elements.map(\.finite))
    case .object(let object): .object(JSONObject(distinct: object.members.map { ($0.key, $0.value.finite) }))
    default: self
    }
  }
}
