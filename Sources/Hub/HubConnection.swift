import Diagnostics
import Essentials
import OrderedJSON
import Synchronization

/// How often to retry, and how long to wait in between.
struct RetryPolicy: Sendable {
  /// Failures in a row after which to give up.
  var attempts = 6
  /// Attempts at reaching a service that has not answered once.
  var firstContactAttempts = 3
  /// The first delay. It doubles with every failure.
  var firstDelay = Duration.seconds(1)
  /// The longest delay, even if the server asks for a longer one.
  var longestDelay = Duration.seconds(60)
  /// How long a server may send nothing.
  var silence = Duration.seconds(30)
}

/// Why one attempt failed.
enum AttemptFailure: Error {
  /// Worth a retry, after the delay the server asked for. `hasProgressed` if bytes arrived, which resets the count.
  case temporary(String, after: Duration? = nil, hasProgressed: Bool = false)
  /// No connection to the host.
  case unreachable(String)
  case permanent(SwiftletError)
}

/// Sends requests to the service and to the hosts it redirects to. Only the service itself ever sees the token.
struct HubConnection: Sendable {
  let settings: HubSettings
  let policy: RetryPolicy
  /// "org/name", for messages.
  let repository: RepositoryID

  private static let contentLimit = 256 << 20

  /// The body of a response that fits in memory, such as JSON.
  func content(of url: String) async throws(SwiftletError) -> Data {
    try await retrying(unreachableAttempts: policy.firstContactAttempts) { () async throws(AttemptFailure) in
      let content = MemoryReceiver(limit: Self.contentLimit)
      let response = try await send(.get, url, into: content)
      if response.status != 200 {
        throw .permanent(
          SwiftletError.hub("\(repository)", "the service answered \(response.status); check HF_ENDPOINT"))
      }
      return content.data
    }
  }

  /// Why an upload without a token is refused.
  static let tokenRequest = "uploads need a token; set HF_TOKEN, or run `hf auth login`"

  /// Sends a body and returns the response's, of a success.
  /// - Parameter accepted: statuses that are no failure besides 200 and 201; the body is lost then.
  func send(
    _ body: HTTPRequest.Body, _ method: HTTPRequest.Method, to url: String, headers: [(name: String, value: String)],
    accepting accepted: Set<Int> = []
  ) async throws(SwiftletError) -> (head: HTTPResponseHead, content: Data) {
    try await retrying(unreachableAttempts: policy.firstContactAttempts) { () async throws(AttemptFailure) in
      var request = try request(method, url, from: 0)
      request.headers += headers
      request.body = body
      // The body of a failure says why.
      let content = MemoryReceiver(limit: Self.contentLimit)
      let head = try await perform(request, into: content)
      if (200...299).contains(head.status) || accepted.contains(head.status) { return (head, content.data) }
      switch head.status {
      case 408, 425, 429, 500...599:
        throw .temporary("it answered \(head.status)", after: Self.retryDelay(head))
      case 401, 403:
        throw .permanent(
          SwiftletError.hub(
            "\(repository)",
            settings.token == nil
              ? Self.tokenRequest
              : "access denied (\(head.status)); set HF_TOKEN to a token that may write to \(repository)"))
      default:
        let reason = (try? JSONValue(parsing: content.data))?["error"]?.string ?? ""
        throw .permanent(
          SwiftletError.hub(
            "\(repository)",
            "the service answered \(head.status)\(reason.isEmpty ? "" : ": " + reason.escapedLine(limit: 300)); check the "
              + "name and HF_ENDPOINT"))
      }
    }
  }

  /// The headers that describe a file, from the service itself even if it redirects to another host.
  func head(of url: String) async throws(SwiftletError) -> HTTPResponseHead {
    try await retrying { () async throws(AttemptFailure) in try await send(.head, url, into: MemoryReceiver(limit: 0)) }
  }

  /// Retries until an attempt succeeds, fails permanently, or too many failed in a row.
  func retrying<Value>(
    unreachableAttempts: Int = .max, _ attempt: () async throws(AttemptFailure) -> Value
  ) async throws(SwiftletError) -> Value {
    var failures = 0
    // Bounds the time spent on a server that sends one byte and hangs up.
    for _ in 0..<1000 {
      let cause: String
      var delay: Duration?
      var attempts = policy.attempts
      do {
        return try await attempt()
      } catch {
        switch error {
        case .permanent(let error): throw error
        case .unreachable(let reason):
          cause = reason
          failures += 1
          attempts = min(attempts, unreachableAttempts)
        case .temporary(let reason, let after, let hasProgressed):
          cause = reason
          delay = after
          failures = hasProgressed ? 1 : failures + 1
        }
      }
      if failures >= attempts { throw outage(cause) }
      let doubled = policy.firstDelay * (1 << min(failures - 1, 20))
      do {
        try await Task.sleep(for: min(delay ?? doubled, policy.longestDelay))
      } catch {
        throw cancellation
      }
    }
    throw outage("the connection broke 1000 times")
  }

  /// One request, following redirects. A `HEAD` request stops at a redirect to another host.
  ///
  /// Only the body of a 200 or 206 response reaches the receiver; 416 is returned without one, other statuses throw.
  func send(
    _ method: HTTPRequest.Method, _ url: String, from offset: Int = 0, into receiver: some HTTPResponseReceiver
  ) async throws(AttemptFailure) -> HTTPResponseHead {
    var url = url
    for _ in 0..<10 {
      let request = try request(method, url, from: offset)
      let head = try await perform(request, into: SuccessReceiver(receiver: receiver))
      switch head.status {
      case 200, 206, 416: return head
      case 301, 302, 303, 307, 308:
        let target = try redirect(head, from: url)
        let isDescribed = head["X-Linked-Etag"] != nil
        if method == .head, isDescribed || Self.origin(target) != Self.origin(settings.endpoint) { return head }
        url = target
      case 408, 425, 429, 500...599:
        throw .temporary("it answered \(head.status)", after: Self.retryDelay(head))
      default: throw .permanent(refusal(head, url: url))
      }
    }
    throw .permanent(SwiftletError.hub("\(repository)", "the service redirects in circles; check HF_ENDPOINT"))
  }

  private func perform(
    _ request: HTTPRequest, into receiver: some HTTPResponseReceiver
  ) async throws(AttemptFailure) -> HTTPResponseHead {
    do {
      return try await HTTPTransfers.shared.perform(request, into: receiver)
    } catch {
      switch error {
      case .canceled: throw .permanent(cancellation)
      case .rejected(let failure): throw failure
      case .unreachable(let cause): throw .unreachable(cause.escapedLine(limit: 200))
      case .broken(let cause): throw .temporary(cause.escapedLine(limit: 200))
      case .untrusted(let cause):
        throw .permanent(
          .network(
            "\(repository)",
            "cannot verify the certificate of \(Self.origin(request.url) ?? settings.endpoint): "
              + "\(cause.escapedLine(limit: 200)); install the certificate, or set SSL_CERT_FILE to a file that contains it"
          ))
      }
    }
  }

  private func request(
    _ method: HTTPRequest.Method, _ url: String, from offset: Int
  ) throws(AttemptFailure) -> HTTPRequest {
    var request = HTTPRequest(method: method, url: url)
    // A compressed response would have other sizes and ranges.
    request.headers = [("User-Agent", "swiftlet"), ("Accept-Encoding", "identity")]
    if offset > 0 { request.headers.append(("Range", "bytes=\(offset)-")) }
    if let token = settings.token, Self.origin(url) == Self.origin(settings.endpoint) {
      request.headers.append(("Authorization", "Bearer \(token)"))
      if settings.service == .modelScope { request.headers.append(("Cookie", "m_session_id=\(token)")) }
    }
    request.proxy = settings.proxies.proxy(for: url)
    request.certificates = settings.certificates
    request.silence = policy.silence
    return request
  }

  private func redirect(_ head: HTTPResponseHead, from url: String) throws(AttemptFailure) -> String {
    guard let location = head["Location"], let base = URL(string: url),
      let target = URL(string: location, relativeTo: base)?.absoluteURL,
      let scheme = target.scheme?.lowercased(), ["http", "https"].contains(scheme), target.host?.isEmpty == false
    else {
      throw .permanent(
        SwiftletError.hub("\(repository)", "the service redirects to an invalid URL; check HF_ENDPOINT"))
    }
    return target.absoluteString
  }

  /// Scheme, host and port. Two URLs with the same origin belong to the same server.
  private static func origin(_ url: String) -> String? {
    guard let url = URL(string: url), let scheme = url.scheme?.lowercased(), let host = url.host?.lowercased() else {
      return nil
    }
    return "\(scheme)://\(host):\(url.port ?? (scheme == "https" ? 443 : 80))"
  }

  /// `Retry-After` in seconds. Its other form, a date, is ignored.
  private static func retryDelay(_ head: HTTPResponseHead) -> Duration? {
    guard let text = head["Retry-After"], let seconds = Double(text), seconds >= 0, seconds < 1e6 else { return nil }
    return .seconds(seconds)
  }

  var cancellation: SwiftletError {
    SwiftletError.hub("\(repository)", "the download was canceled; run the command again to resume it")
  }

  private func outage(_ cause: String) -> SwiftletError {
    .network(
      "\(repository)",
      "cannot download from \(settings.endpoint): \(cause); check the network, set "
        + "\(settings.endpointVariable) to a mirror, or pass a local path; run the command again to resume")
  }

  private func refusal(_ head: HTTPResponseHead, url: String) -> SwiftletError {
    let status = head.status
    let variable = settings.service == .huggingFace ? "HF_TOKEN" : "MODELSCOPE_API_TOKEN"
    let reason =
      switch (status, head["X-Error-Code"]) {
      case (_, "GatedRepo"):
        "the repository is gated; accept its terms at \(settings.endpoint) and set \(variable) to your token"
      case (_, "RevisionNotFound"): "revision not found; check the branch, tag or commit"
      case (404, "EntryNotFound"):
        "the repository lists \(url.escapedLine(limit: 200)) but does not have it; try again later"
      case (401, _), (403, _):
        if settings.token != nil {
          "access denied (\(status)); accept the terms at \(settings.endpoint), or set \(variable) to a token with "
            + "read access"
        } else {
          "access denied (\(status)): the repository is private or does not exist; check the name, or set \(variable)"
        }
      case (404, _):
        "not found on \(settings.endpoint); check the name, or set \(variable) if the repository is private"
      default: "the service answered \(status) to \(url.escapedLine(limit: 200)); check \(settings.endpointVariable)"
      }
    return SwiftletError.hub("\(repository)", reason)
  }
}

/// Keeps a body in memory.
private final class MemoryReceiver: HTTPResponseReceiver {
  private let content = Mutex(Data())
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  var data: Data { content.withLock { $0 } }

  func begin(_ head: HTTPResponseHead) -> Bool { limit > 0 }

  func receive(_ part: Data) throws(AttemptFailure) {
    let count = content.withLock { content in
      content.append(part)
      return content.count
    }
    if count > limit { throw .temporary("its answer is larger than \(limit >> 20) MiB") }
  }
}

/// Passes on successful responses only.
private struct SuccessReceiver: HTTPResponseReceiver {
  let receiver: any HTTPResponseReceiver

  func begin(_ head: HTTPResponseHead) throws(AttemptFailure) -> Bool {
    switch head.status {
    case 200, 206: try receiver.begin(head)
    default: false
    }
  }

  func receive(_ part: Data) throws(AttemptFailure) { try receiver.receive(part) }
}
