import AsyncHTTPClient
import Foundation

/// A proxy that stands between this machine and the service, as the customary variables name it.
struct HubProxy: Sendable, Hashable {
  let host: String
  let port: Int
  let isSOCKS: Bool
  /// `user:password`, where the address has them.
  let credentials: String?

  /// The proxy for an endpoint: `HTTPS_PROXY` or `HTTP_PROXY` by its scheme, else `ALL_PROXY`; lower case first. `nil`
  /// where none is set or `NO_PROXY` lists the host, one of its parent domains, or `*`.
  static func of(endpoint: String, environment: [String: String]) throws(HubError) -> HubProxy? {
    func value(_ name: String) -> String? {
      [name, name.uppercased()].lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
    guard let url = URL(string: endpoint), let scheme = url.scheme?.lowercased(), let host = url.host?.lowercased(),
      let text = value("\(scheme)_proxy") ?? value("all_proxy")
    else { return nil }
    let exceptions = (value("no_proxy") ?? "").split(separator: ",").map {
      $0.trimmingCharacters(in: .whitespaces).lowercased()
    }
    let isExcepted = exceptions.contains { exception in
      let domain = exception.hasPrefix(".") ? String(exception.dropFirst()) : exception
      return exception == "*" || !domain.isEmpty && (host == domain || host.hasSuffix(".\(domain)"))
    }
    return isExcepted ? nil : try HubProxy(text)
  }

  private init(_ text: String) throws(HubError) {
    let kinds = ["http": 80, "socks5": 1080, "socks5h": 1080]
    guard let url = URL(string: text.contains("://") ? text : "http://\(text)"), let scheme = url.scheme?.lowercased(),
      let usualPort = kinds[scheme], let host = url.host, !host.isEmpty
    else {
      throw HubError(
        "the proxy in the environment", "cannot be used; write it like http://127.0.0.1:3128 or socks5://...")
    }
    self.host = host
    port = url.port ?? usualPort
    isSOCKS = scheme != "http"
    credentials = url.user.map { "\($0):\(url.password ?? "")".removingPercentEncoding ?? $0 }
  }

  var configuration: HTTPClient.Configuration.Proxy {
    if isSOCKS { return .socksServer(host: host, port: port) }
    let authorization = credentials.map {
      HTTPClient.Authorization.basic(credentials: Data($0.utf8).base64EncodedString())
    }
    return .server(host: host, port: port, authorization: authorization)
  }
}
