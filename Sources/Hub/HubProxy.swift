import Diagnostics
import Essentials

/// The proxies that the customary environment variables name, lowercase names first.
struct HubProxies: Sendable, Hashable {
  /// Proxy URLs by the scheme of the request; "all" for any.
  private let proxies: [String: String]
  /// Host names that need no proxy, without leading dots; `*` for all.
  private let exceptions: [String]

  /// - Throws: `SwiftletError` for a proxy that is not a URL of a supported kind.
  init(environment: [String: String]) throws(SwiftletError) {
    func value(_ name: String) -> String? {
      [name, name.uppercased()].lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
    var proxies: [String: String] = [:]
    for scheme in ["http", "https", "all"] {
      if let text = value("\(scheme)_proxy") { proxies[scheme] = try Self.checked(text, "\(scheme)_proxy") }
    }
    self.proxies = proxies
    exceptions = (value("no_proxy") ?? "").split(separator: ",").compactMap {
      let name = $0.trimmed.lowercased()
      let domain = name.hasPrefix(".") ? String(name.dropFirst()) : name
      return domain.isEmpty ? nil : domain
    }
  }

  /// The proxy for a URL: `HTTPS_PROXY` or `HTTP_PROXY` by its scheme, else `ALL_PROXY`. `nil` if none is set or
  /// `NO_PROXY` lists the host, one of its parent domains, or `*`.
  func proxy(for url: String) -> String? {
    guard let url = URL(string: url), let scheme = url.scheme?.lowercased(), let host = url.host?.lowercased(),
      let proxy = proxies[scheme] ?? proxies["all"]
    else { return nil }
    let isExcepted = exceptions.contains { $0 == "*" || host == $0 || host.hasSuffix(".\($0)") }
    return isExcepted ? nil : proxy
  }

  /// The proxy as libcurl takes it. SOCKS proxies resolve host names themselves.
  private static func checked(_ text: String, _ name: String) throws(SwiftletError) -> String {
    let address = text.contains("://") ? text : "http://\(text)"
    let schemes = [
      "http": "http", "https": "https", "socks4": "socks4a", "socks4a": "socks4a", "socks5": "socks5h",
      "socks5h": "socks5h",
    ]
    guard let url = URL(string: address), let scheme = url.scheme, let known = schemes[scheme.lowercased()],
      let host = url.host, !host.isEmpty
    else {
      throw SwiftletError.hub(
        name, "not a proxy URL; use the form http://127.0.0.1:3128 or socks5://127.0.0.1:1080")
    }
    let usualPort = known.hasPrefix("socks") ? 1080 : known == "http" ? 80 : 443
    let rest = String(address.dropFirst(scheme.count))
    // libcurl's default port is 1080 for every kind.
    return known + (url.port == nil ? rest.replacing(/\/*$/, with: "") + ":\(usualPort)" : rest)
  }
}
