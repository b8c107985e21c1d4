import Checkpoints
import Diagnostics
import Essentials

/// A hosting service for models and datasets.
public enum HubService: Sendable, Hashable {
  /// Hugging Face, or one of its mirrors.
  case huggingFace
  /// ModelScope (www.modelscope.cn).
  case modelScope
}

/// Endpoint, token, cache folder and proxies, from the environment variables of Python's `huggingface_hub` and
/// `modelscope`.
struct HubSettings: Sendable {
  let service: HubService
  /// A URL without a trailing slash.
  let endpoint: String
  let token: String?
  /// The folder that contains `models--org--name` and so on.
  let cache: URL
  let isOffline: Bool
  let proxies: HubProxies
  /// A PEM file of trusted certificates; `nil` for the system's.
  let certificates: String?

  /// The variable that sets the endpoint, for messages.
  var endpointVariable: String { service == .huggingFace ? "HF_ENDPOINT" : "MODELSCOPE_ENDPOINT" }

  init(environment: [String: String], service requested: HubService?) throws(SwiftletError) {
    let service = requested ?? Self.service(environment)
    self.service = service
    let home = environment["HOME"].map { URL(filePath: $0) } ?? FileManager.default.homeDirectoryForCurrentUser
    func path(_ text: String) -> URL {
      text == "~" || text.hasPrefix("~/") ? home.appending(path: String(text.dropFirst(1))) : URL(filePath: text)
    }
    func value(_ names: String...) -> String? {
      names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
    let caches = value("XDG_CACHE_HOME").map(path) ?? home.appending(path: ".cache")
    switch service {
    case .huggingFace:
      let folder = value("HF_HOME").map(path) ?? caches.appending(path: "huggingface")
      cache = value("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE").map(path) ?? folder.appending(path: "hub")
      endpoint = try Self.endpoint("HF_ENDPOINT", value("HF_ENDPOINT") ?? "https://huggingface.co")
      let file = value("HF_TOKEN_PATH").map(path) ?? folder.appending(path: "token")
      let isImplicit = !Self.isTrue(environment["HF_HUB_DISABLE_IMPLICIT_TOKEN"])
      token = try Self.token(value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), "HF_TOKEN", file: isImplicit ? file : nil)
    case .modelScope:
      cache = value("MODELSCOPE_CACHE").map(path) ?? caches.appending(path: "modelscope/hub")
      let address = value("MODELSCOPE_ENDPOINT") ?? value("MODELSCOPE_DOMAIN") ?? "www.modelscope.cn"
      endpoint = try Self.endpoint("MODELSCOPE_ENDPOINT", address.contains("://") ? address : "https://\(address)")
      token = try Self.token(value("MODELSCOPE_API_TOKEN"), "MODELSCOPE_API_TOKEN", file: nil)
    }
    proxies = try HubProxies(environment: environment)
    certificates = value("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE").map { path($0).path }
    isOffline = Self.isTrue(environment["HF_HUB_OFFLINE"]) || Self.isTrue(environment["TRANSFORMERS_OFFLINE"])
  }

  private static func service(_ environment: [String: String]) -> HubService {
    if isTrue(environment["USE_MODELSCOPE_HUB"]) { return .modelScope }
    let isNamed = environment["MODELSCOPE_ENDPOINT"]?.isEmpty == false
    return isNamed && environment["HF_ENDPOINT"]?.isEmpty != false ? .modelScope : .huggingFace
  }

  private static func isTrue(_ text: String?) -> Bool { ["1", "on", "yes", "true"].contains(text?.lowercased() ?? "") }

  private static func endpoint(_ name: String, _ text: String) throws(SwiftletError) -> String {
    let trimmed = text.hasSuffix("/") ? String(text.dropLast()) : text
    guard let url = URL(string: trimmed), let scheme = url.scheme, ["http", "https"].contains(scheme),
      url.host?.isEmpty == false, url.user == nil, url.query == nil, url.fragment == nil
    else {
      throw SwiftletError.hub(
        "\(name)=\(text.escapedLine(limit: 200))", "not a valid URL; use the form https://mirror.example")
    }
    return trimmed
  }

  private static func token(_ text: String?, _ name: String, file: URL?) throws(SwiftletError) -> String? {
    let found = text ?? file.flatMap { try? RegularFile.text(of: $0, sizeLimit: 1 << 16) }
    let source = text == nil ? file?.path ?? name : name
    guard let token = found?.trimmed, !token.isEmpty else { return nil }
    guard token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      throw SwiftletError.hub(
        source, "not a valid token (it contains spaces or unusual characters); copy the token again")
    }
    return token
  }
}
