import ChatTemplates
import Diagnostics
import Essentials
import OrderedJSON

/// Who may use a server.
package struct AccessRules: Sendable {
  /// The key that every request must carry; `nil` for none.
  package var apiKey: String?
  /// Origins of web pages that may use the server besides its own.
  package var allowedOrigins: [String] = []
  /// Whether the server listens on the loopback interface only, so that only local names may reach it.
  package var isLoopback = true

  package init() {}

  /// - Throws: `APIError` for a request that must not be answered.
  func check(_ request: HTTPRequest) throws(APIError) {
    // A page of another site can send requests here from its visitor's browser, and can give its own name our address.
    if isLoopback, let host = request.header("Host"), !Self.isLoopbackName(host) {
      throw APIError(status: 403, type: "permission_error", message: "This server answers only to local names.")
    }
    if let origin = request.header("Origin"), !allows(origin, host: request.header("Host")) {
      throw APIError(
        status: 403, type: "permission_error", message: "Pages of \(origin.quotedExcerpt) may not use this server.")
    }
    guard let apiKey, request.path != "/health" else { return }
    guard let given = request.header("Authorization"), Self.isEqual("Bearer " + apiKey, given) else {
      throw APIError(
        status: 401, type: "authentication_error", message: "The API key is missing or wrong.",
        code: "invalid_api_key")
    }
  }

  func allows(_ origin: String, host: String?) -> Bool {
    allowedOrigins.contains(origin) || allowedOrigins.contains("*") || host.map { origin == "http://" + $0 } ?? false
  }

  private static func isLoopbackName(_ host: String) -> Bool {
    let name = host.hasPrefix("[") ? String(host.prefix { $0 != "]" }) + "]" : String(host.prefix { $0 != ":" })
    return ["localhost", "127.0.0.1", "[::1]"].contains(name.lowercased())
  }

  /// Compares in a time that doesn't tell how much agrees.
  private static func isEqual(_ a: String, _ b: String) -> Bool {
    let (a, b) = (Array(a.utf8), Array(b.utf8))
    var difference = a.count ^ b.count
    for index in a.indices { difference |= Int(a[index] ^ (index < b.count ? b[index] : 0)) }
    return difference == 0
  }
}

/// Implements the OpenAI API for the models of an engine.
package struct APIServer: Sendable {
  private let engine: GenerationEngine
  private let access: AccessRules
  private let jobs: FineTuningJobs?
  private let started = Int(Date().timeIntervalSince1970)

  /// - Parameter jobs: trains for clients; `nil` to refuse that.
  package init(_ engine: GenerationEngine, access: AccessRules = AccessRules(), jobs: FineTuningJobs? = nil) {
    self.engine = engine
    self.access = access
    self.jobs = jobs
  }

  /// Answers a request; errors become responses.
  package func respond(to request: HTTPRequest) async -> HTTPResponse {
    var response: HTTPResponse
    do {
      try access.check(request)
      response = request.method == "OPTIONS" ? HTTPResponse(status: 204) : try await route(request)
    } catch {
      response = APIError.response(to: error)
    }
    if let origin = request.header("Origin"), access.allows(origin, host: request.header("Host")) {
      response.headers += [
        ("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
        ("Access-Control-Allow-Methods", "GET, POST, DELETE"), ("Vary", "Origin"),
      ]
    }
    return response
  }

  private func route(_ request: HTTPRequest) async throws -> HTTPResponse {
    switch (request.method, request.path) {
    case ("GET", "/health"), ("HEAD", "/health"): return .json(["status": "ok"])
    case ("GET", "/v1/models"):
      return .json(["object": "list", "data": .array(await engine.ids.map(model))])
    case ("POST", "/v1/chat/completions"):
      return try await ChatCompletions(engine: engine).respond(to: request.json())
    case ("POST", "/v1/completions"): return try await Completions(engine: engine).respond(to: request.json())
    case ("POST", "/tokenize"): return try await tokenize(request.json())
    case ("POST", "/detokenize"): return try await detokenize(request.json())
    case ("POST", "/apply-template"): return try await applyTemplate(request.json())
    case ("GET", let path) where path.hasPrefix("/v1/models/"):
      let id = String(path.dropFirst("/v1/models/".count)).percentDecoded
      guard let id, await engine.ids.contains(id) else {
        throw APIError.notFound("There is no such model.", code: "model_not_found")
      }
      return .json(model(id))
    case (_, let path) where path.hasPrefix("/v1/files") || path.hasPrefix("/v1/fine_tuning/"):
      guard let jobs else {
        throw APIError.notFound("This server doesn't train; start it with --fine-tuning FOLDER.")
      }
      return try await jobs.respond(to: request, Array((request.pathComponents ?? []).dropFirst()))
    default: throw APIError.notFound("There is nothing at \(request.method) \(request.path.quotedExcerpt).")
    }
  }

  private func model(_ id: String) -> JSONValue {
    ["id": .string(id), "object": "model", "created": .integer(started), "owned_by": "swiftlet"]
  }

  private func tokenize(_ json: JSONValue) async throws -> HTTPResponse {
    let reader = RequestReader(json: json)
    guard let text = try reader.string("content") ?? reader.string("prompt") else {
      throw APIError.invalidRequest("\"content\" must be a string.", parameter: "content")
    }
    let addsSpecialTokens = try reader.bool("add_special") ?? reader.bool("add_special_tokens") ?? false
    let ids = try await engine.withModel(try await name(reader)) {
      $0.tokenizer.encode(text, addSpecialTokens: addsSpecialTokens)
    }
    return .json(["tokens": .array(ids.map { .integer(Int($0)) }), "count": .integer(ids.count)])
  }

  private func detokenize(_ json: JSONValue) async throws -> HTTPResponse {
    let reader = RequestReader(json: json)
    let array = try reader.array("tokens") ?? []
    let ids = array.compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
    guard ids.count == array.count else {
      throw APIError.invalidRequest("\"tokens\" must be an array of token ids.", parameter: "tokens")
    }
    let text = try await engine.withModel(try await name(reader)) { $0.tokenizer.decode(ids) }
    return .json(["content": .string(text)])
  }

  private func applyTemplate(_ json: JSONValue) async throws -> HTTPResponse {
    let defaultModel = await engine.ids.first ?? ""
    let request = try ChatRequest(json, defaultModel: defaultModel)
    let text = try await engine.withModel(request.model) { model in
      let ids = try model.prompt(request.messages, tools: request.tools, thinking: request.thinking)
      return model.tokenizer.decode(ids)
    }
    return .json(["prompt": .string(text)])
  }

  private func name(_ reader: RequestReader) async throws -> String {
    let first = await engine.ids.first ?? ""
    return try reader.string("model") ?? first
  }
}
