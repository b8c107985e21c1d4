import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// How often a request is made again, and how long to wait in between.
struct RetryPolicy: Sendable {
  /// Failures in a row after which to give up.
  var attempts = 6
  /// The first wait; each further one is twice as long.
  var firstDelay = Duration.seconds(1)
  /// The longest wait, also where the server asks for a longer one.
  var longestDelay = Duration.seconds(60)
  /// How long a server may send nothing.
  var silence = Duration.seconds(30)
}

/// Why one attempt failed.
enum AttemptFailure: Error {
  /// Worth another attempt. `hasProgressed` where bytes arrived, which starts the count of attempts anew.
  case passing(String, after: Duration? = nil, hasProgressed: Bool = false)
  case final(HubError)
}

/// A response after redirects.
struct HubResponse: Sendable {
  let status: Int
  let headers: HTTPHeaders
  let body: HTTPClientResponse.Body
}

/// Requests to the service and to the hosts it redirects to; only the service itself ever sees the token.
struct HubConnection: Sendable {
  let settings: HubSettings
  let policy: RetryPolicy
  /// "org/name", for messages.
  let repository: RepositoryID
  private let client: HTTPClient

  init(settings: HubSettings, policy: RetryPolicy, repository: RepositoryID) {
    self.settings = settings
    self.policy = policy
    self.repository = repository
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .disallow,
      timeout: .init(connect: .seconds(10), read: .nanoseconds(Int64(policy.silence / .nanoseconds(1)))))
    configuration.httpVersion = .http1Only
    // Attempts are counted here; the pool would go on trying to connect without end.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.proxy = settings.proxy?.configuration
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  func close() async { try? await client.shutdown() }

  /// A body of JSON or the like, which must be small enough to hold.
  func content(of url: String) async throws(HubError) -> [UInt8] {
    try await retrying { () async throws(AttemptFailure) in
      let response = try await send(.GET, url)
      do {
        return Array(try await response.body.collect(upTo: 256 << 20).readableBytesView)
      } catch {
        throw .passing("the answer broke off: \(excerpt("\(error)"))")
      }
    }
  }

  /// The headers that describe a file: of the service's own answer, even where that is a redirect to another host.
  func headers(of url: String) async throws(HubError) -> (headers: HTTPHeaders, isRedirect: Bool) {
    try await retrying { () async throws(AttemptFailure) in
      let response = try await send(.HEAD, url)
      return (response.headers, response.status >= 300)
    }
  }

  /// Makes attempts until one succeeds, fails for good, or too many failed in a row.
  func retrying<Value>(_ attempt: () async throws(AttemptFailure) -> Value) async throws(HubError) -> Value {
    var failures = 0
    // A server that sends one byte and hangs up must not hold us for ever.
    for _ in 0..<1000 {
      do {
        return try await attempt()
      } catch {
        switch error {
        case .final(let error): throw error
        case .passing(let cause, let wait, let hasProgressed):
          failures = hasProgressed ? 1 : failures + 1
          if failures >= policy.attempts {
            throw HubError(
              "\(repository)",
              "could not be loaded from \(settings.endpoint): \(cause); check the connection, or try "
                + "again later, which goes on where this stopped", isOutage: true)
          }
          let doubled = policy.firstDelay * (1 << min(failures - 1, 20))
          do {
            try await Task.sleep(for: min(wait ?? doubled, policy.longestDelay))
          } catch {
            throw HubError("\(repository)", "the download was cancelled; start it again to go on where it stopped")
          }
        }
      }
    }
    throw HubError(
      "\(repository)", "the connection to \(settings.endpoint) broke a thousand times; try again later", isOutage: true)
  }

  /// One request, redirects followed. A `HEAD` request stops at a redirect to another host.
  func send(_ method: HTTPMethod, _ url: String, from offset: Int = 0) async throws(AttemptFailure) -> HubResponse {
    var url = url
    for _ in 0..<10 {
      let response: HTTPClientResponse
      do {
        response = try await client.execute(request(method, url, from: offset), deadline: .distantFuture)
      } catch {
        throw .passing(excerpt("\(error)"))
      }
      let status = Int(response.status.code)
      switch status {
      case 200, 206, 416: return HubResponse(status: status, headers: response.headers, body: response.body)
      case 301, 302, 303, 307, 308:
        let target = try redirect(response, from: url)
        let isDescribed = response.headers.contains(name: "X-Linked-Etag")
        if method == .HEAD, isDescribed || Self.origin(target) != Self.origin(settings.endpoint) {
          return HubResponse(status: status, headers: response.headers, body: response.body)
        }
        url = target
      case 408, 425, 429, 500...599:
        throw .passing("it answered \(status)", after: Self.wait(response.headers))
      default:
        throw .final(refusal(status, response.headers, url: url))
      }
    }
    throw .final(HubError("\(repository)", "the service redirects in circles; check HF_ENDPOINT"))
  }

  private func request(_ method: HTTPMethod, _ url: String, from offset: Int) -> HTTPClientRequest {
    var request = HTTPClientRequest(url: url)
    request.method = method
    request.headers.add(name: "User-Agent", value: "swiftlet")
    // A compressed answer would make sizes and ranges meaningless.
    request.headers.add(name: "Accept-Encoding", value: "identity")
    if offset > 0 { request.headers.add(name: "Range", value: "bytes=\(offset)-") }
    if let token = settings.token, Self.origin(url) == Self.origin(settings.endpoint) {
      request.headers.add(name: "Authorization", value: "Bearer \(token)")
      if settings.service == .modelScope { request.headers.add(name: "Cookie", value: "m_session_id=\(token)") }
    }
    return request
  }

  private func redirect(_ response: HTTPClientResponse, from url: String) throws(AttemptFailure) -> String {
    guard let location = response.headers.first(name: "Location"), let base = URL(string: url),
      let target = URL(string: location, relativeTo: base)?.absoluteURL,
      let scheme = target.scheme?.lowercased(), ["http", "https"].contains(scheme), target.host != nil
    else { throw .final(HubError("\(repository)", "the service redirects to no address; check HF_ENDPOINT")) }
    return target.absoluteString
  }

  /// Scheme, host and port, which decide who is the same server.
  private static func origin(_ url: String) -> String? {
    guard let url = URL(string: url), let scheme = url.scheme?.lowercased(), let host = url.host?.lowercased() else {
      return nil
    }
    return "\(scheme)://\(host):\(url.port ?? (scheme == "https" ? 443 : 80))"
  }

  /// The seconds of `Retry-After`; its other form, a date, is left to the usual waits.
  private static func wait(_ headers: HTTPHeaders) -> Duration? {
    guard let text = headers.first(name: "Retry-After"), let seconds = Double(text), seconds >= 0, seconds < 1e6 else {
      return nil
    }
    return .seconds(seconds)
  }

  private func refusal(_ status: Int, _ headers: HTTPHeaders, url: String) -> HubError {
    let variable = settings.service == .huggingFace ? "HF_TOKEN" : "MODELSCOPE_API_TOKEN"
    let subject = "\(repository)"
    switch (status, headers.first(name: "X-Error-Code")) {
    case (_, "GatedRepo"):
      return HubError(
        subject,
        "is gated; accept its conditions at \(settings.endpoint) and set \(variable) to a token of that account")
    case (_, "RevisionNotFound"): return HubError(subject, "has no such revision; check the branch, tag or commit")
    case (404, "EntryNotFound"): return HubError(subject, "lists \(excerpt(url)) but does not have it; try again later")
    case (401, _), (403, _):
      if settings.token != nil {
        return HubError(
          subject,
          "the token was refused (\(status)); accept the conditions at \(settings.endpoint), or set "
            + "\(variable) to a token that may read it")
      }
      return HubError(
        subject, "is not open to everyone, or does not exist (\(status)); check the spelling, or set \(variable)")
    case (404, _):
      return HubError(
        subject, "was not found on \(settings.endpoint); check the spelling, or set \(variable) if it is private")
    default: return HubError(subject, "the service answered \(status) to \(excerpt(url)); check HF_ENDPOINT")
    }
  }
}
