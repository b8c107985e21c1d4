import CBoardPage
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Reports
import Swiftlet
import Training

/// The board: a page about the runs in a folder, and what it asks of the server.
///
/// The runs are processes of their own. The board reads the files that they write, and asks of them what it wants by a
/// file, so that neither needs the other.
package struct BoardServer: Sendable {
  let root: URL
  let access: AccessRules
  let program: RunProgram
  let chat: BoardChat
  /// What a page of this server sends along with every request that changes something; other pages can't read it.
  package let token: String

  /// - Parameters:
  ///   - root: the folder with the runs and data files.
  ///   - program: starts runs and exports.
  ///   - chat: answers with the runs' models.
  package init(_ root: URL, access: AccessRules = AccessRules(), program: RunProgram, chat: BoardChat) {
    self.root = root
    self.access = access
    self.program = program
    self.chat = chat
    token = (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
  }

  /// Answers a request; errors become responses.
  package func respond(to request: HTTPRequest) async -> HTTPResponse {
    var response: HTTPResponse
    do {
      try check(request)
      response = try await route(request)
    } catch {
      response = APIError.response(to: error)
    }
    response.headers += Self.headers
    if !response.headers.contains(where: { $0.name == "Cache-Control" }) {
      response.headers.append(("Cache-Control", "no-store"))
    }
    return response
  }

  /// The page loads nothing from elsewhere, runs no script but its own, and can't be framed.
  private static let headers = [
    (
      "Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    ("Referrer-Policy", "no-referrer"), ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
  ]

  private func check(_ request: HTTPRequest) throws {
    // Browsers always name the host that they think they talk to.
    if access.isLoopback, request.header("Host") == nil {
      throw APIError(status: 400, type: "invalid_request_error", message: "The request names no host.")
    }
    var access = access
    // The files of the page are the same for everyone; it asks for the key itself.
    if request.method == "GET", !request.path.hasPrefix("/api/") { access.apiKey = nil }
    try access.check(request)
    if request.method == "GET" { return }
    guard request.header("X-Swiftlet-Token") == token else {
      throw APIError(
        status: 403, type: "permission_error", message: "The page is of an earlier start of the server; reload it.",
        code: "token")
    }
  }

  private func route(_ request: HTTPRequest) async throws -> HTTPResponse {
    guard let path = request.pathComponents else { throw APIError.notFound("The path is malformed.") }
    guard path.first == "api" else {
      guard request.method == "GET", path.count <= 1, let file = file(path.first ?? "") else {
        throw APIError.notFound("There is nothing at \(request.path.quotedExcerpt).")
      }
      return file
    }
    switch (request.method, path.dropFirst().first ?? "", path.count) {
    case ("GET", "runs", 2): return .json(try await runs())
    case (_, "runs", 3...4):
      return try await respond(to: request, about: try await run(path[2]), path.count == 4 ? path[3] : "")
    case ("GET", "audits", 2):
      return .json(try await BlockingWork.run { .array(BoardAudit.find(in: root).map(\.summary)) })
    case ("GET", "audits", 3): return .json(try await audit(path[2], request))
    case ("GET", "jobs", 2): return .json(.array(await program.jobs.map(\.json)))
    case ("GET", "models", 2):
      return .json(try await BlockingWork.run { .array(ModelList(root).names.map { .string($0) }) })
    case ("GET", "data", 2):
      return .json(try await BlockingWork.run { .array(DataList(root).names.map { .string($0) }) })
    case ("GET", "programs", 2):
      return .json(try await BlockingWork.run { .array(ProgramList(root).names.map { .string($0) }) })
    case ("GET", "rows", 2):
      let name = request.queryValue("file") ?? ""
      return .json(try await BlockingWork.run { try DataList(root).table(of: name) })
    case ("POST", "data", 2):
      return .json(try await upload(request))
    case ("POST", "recipe", 2): return .json(try await recipe(request.json()))
    case ("POST", "plan", 2): return .json(try await plan(request.json()))
    case ("POST", "start", 2): return .json(try await start(request.json()))
    default: throw APIError.notFound("There is nothing at \(request.method) \(request.path.quotedExcerpt).")
    }
  }

  // MARK: The page

  /// A file of the page, which is part of the program; `nil` if there is none of this name.
  private func file(_ name: String) -> HTTPResponse? {
    for index in 0..<board_file_count() {
      let file = board_file(index)
      guard String(cString: file.name) == name else { continue }
      var bytes = Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
      if index == 0 { bytes = Array(String(decoding: bytes, as: UTF8.self).replacing("{{token}}", with: token).utf8) }
      let type = String(cString: file.type) + "; charset=utf-8"
      return HTTPResponse(headers: [("Content-Type", type), ("Cache-Control", "no-cache")], body: .bytes(bytes))
    }
    return nil
  }

  // MARK: Runs

  private func runs() async throws -> JSONValue {
    let runs = try await BlockingWork.run { RunFolder.find(in: root).map(\.summary) }
    return ["folder": .string(root.path), "runs": .array(runs)]
  }

  private func run(_ id: String) async throws -> RunFolder {
    guard let run = try await BlockingWork.run({ RunFolder.find(id, in: root) }) else {
      throw APIError.notFound("There is no such run.")
    }
    return run
  }

  private func audit(_ id: String, _ request: HTTPRequest) async throws -> JSONValue {
    let kind = request.queryValue("kind") ?? ""
    let start = Int(request.queryValue("from") ?? "") ?? 0
    let page = try await BlockingWork.run {
      try BoardAudit.find(id, in: root)?.page(of: kind.isEmpty ? nil : kind, from: start)
    }
    guard let page else { throw APIError.notFound("There is no such audit.") }
    return page
  }

  private func respond(to request: HTTPRequest, about run: RunFolder, _ part: String) async throws -> HTTPResponse {
    switch (request.method, part) {
    case ("GET", ""): return .json(try await BlockingWork.run { run.details })
    case ("GET", "log"):
      let cursor = request.queryValue("cursor")
      return .json(try await BlockingWork.run { RunLog(of: run, after: cursor).json })
    case ("GET", "answers"): return .json(try await BlockingWork.run { run.answers })
    case ("GET", "rows"): return .json(try await BlockingWork.run { run.rows })
    case ("GET", "printed"): return .json(["text": .string(run.printed)])
    case ("POST", "pause"): try run.ask(.pause)
    case ("POST", "stop"): try run.ask(.stop)
    case ("POST", "resume"): try await resume(run)
    case ("POST", "export"): try await export(run, request.json())
    case ("POST", "chat"): return try await chat.respond(to: request.json(), about: run)
    default: throw APIError.notFound("There is nothing at \(request.method) \(request.path.quotedExcerpt).")
    }
    return .json(["ok": true])
  }

  /// Starts the command of a run once more, from its last checkpoint.
  private func resume(_ run: RunFolder) async throws {
    guard !run.isRunning else { throw APIError.conflict("The run is running.") }
    guard let last = run.checkpoints.last else { throw APIError.conflict("The run has no checkpoint.") }
    guard let facts = run.facts, let words = facts["command"]?.array?.compactMap(\.string),
      let method = words.first, TrainingMethod.Name(rawValue: method) != nil,
      let directory = facts["directory"]?.string
    else { throw APIError.conflict("Nothing tells how the run was started; resume it on the command line.") }
    let checkpoint = run.url.appendingPathComponent(last).path
    try await begin(
      words.withoutOption("resume_from_checkpoint") + ["--resume_from_checkpoint", checkpoint], run,
      in: URL(fileURLWithPath: directory))
  }

  /// Starts a run as a process of its own.
  private func begin(_ words: [String], _ run: RunFolder, in directory: URL) async throws {
    try await program.start(words, title: "Run \(run.id)", in: directory, printed: run.outputFile)
  }

  private func export(_ run: RunFolder, _ json: JSONValue) async throws {
    let reader = RequestReader(json: json)
    guard run.hasResult else { throw APIError.conflict("The run has no result yet.") }
    let kind = try reader.string("kind") ?? "gguf"
    var words: [String]
    if run.isAdapter, kind != "adapter" {
      guard let base = run.baseModel else { throw APIError.conflict("Nothing tells the base model.") }
      words = ["--model", base, "--adapter", run.url.path]
    } else {
      words = [run.isAdapter ? "--adapter" : "--model", run.url.path]
    }
    switch kind {
    case "gguf":
      let type = try reader.string("type")
      guard type == nil || type.flatMap(GGUFType.init(parsing:)) != nil else {
        throw APIError.invalidRequest("There is no such type.", parameter: "type")
      }
      words = ["export"] + words + ["--output", run.url.path + ".gguf"] + (type.map { ["--type", $0] } ?? [])
    case "adapter" where run.isAdapter:
      words = ["export"] + words + ["--output", run.url.path + "-adapter.gguf"]
    case "merged" where run.isAdapter:
      words = ["merge"] + words + ["--output", run.url.path + "-merged"]
    default: throw APIError.invalidRequest("\"kind\" must be gguf, adapter or merged.", parameter: "kind")
    }
    let printed = FileManager.default.temporaryDirectory.appendingPathComponent(
      "swiftlet-export-\(UInt64.random(in: .min ... .max)).txt")
    try await program.start(words, title: "Export \(run.id)", in: root, printed: printed)
  }

  // MARK: New runs

  /// The settings of the form, as a valid recipe.
  private func settings(_ json: JSONValue) async throws -> RunSettings {
    let settings = try await BlockingWork.run { try RunSettings(json, in: root) }
    _ = try settings.recipe()
    return settings
  }

  private func recipe(_ json: JSONValue) async throws -> JSONValue {
    let settings = try await settings(json)
    return ["recipe": .string(settings.yaml), "command": .string(Self.command(settings))]
  }

  private static func command(_ settings: RunSettings) -> String {
    "swiftlet \(settings.method.rawValue) \(settings.name)/recipe.yaml"
  }

  /// What the run will need, and its first rows. A process of its own opens the model, since that takes memory.
  private func plan(_ json: JSONValue) async throws -> JSONValue {
    let settings = try await settings(json)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "swiftlet-plan-\(UInt64.random(in: .min ... .max))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let recipe = folder.appendingPathComponent("recipe.yaml")
    try Data(settings.yaml.utf8).write(to: recipe)
    let output = folder.appendingPathComponent("plan.json")
    let words = [
      "plan", recipe.path, "--output_dir", folder.appendingPathComponent("output").path, "--result", output.path,
    ]
    let job = try await program.start(
      words, title: "Plan \(settings.name)", in: root, printed: folder.appendingPathComponent("printed.txt"))
    let status = try await withTaskCancellationHandler {
      try await program.wait(for: job)
    } onCancel: {
      Task { await program.terminate(job) }
    }
    guard status == 0, let bytes = try? Data(contentsOf: output) else {
      let text = (try? String(contentsOf: folder.appendingPathComponent("printed.txt"), encoding: .utf8)) ?? ""
      let line = text.split(separator: "\n").last { $0.hasPrefix("Error: ") }?.dropFirst("Error: ".count)
      throw APIError.invalidRequest(line.map(String.init) ?? "The plan could not be made.")
    }
    return try JSONValue(parsing: bytes)
  }

  /// Saves the recipe and starts the run.
  private func start(_ json: JSONValue) async throws -> JSONValue {
    let settings = try await settings(json)
    let folder = root.appendingPathComponent(settings.name)
    guard mkdir(folder.path, 0o777) == 0 else {
      throw APIError.conflict("There is a folder \(settings.name.quotedExcerpt) already; choose another name.")
    }
    try Data(settings.yaml.utf8).write(to: folder.appendingPathComponent("recipe.yaml"))
    let run = RunFolder(id: settings.name, url: folder)
    let words = [settings.method.rawValue, "\(settings.name)/recipe.yaml"]
    try run.announce([
      ("command", .array(words.map { .string($0) })), ("directory", .string(root.path)),
      ("recipe", .string(settings.yaml)),
    ])
    try await begin(words, run, in: root)
    return ["id": .string(run.id)]
  }

  private func upload(_ request: HTTPRequest) async throws -> JSONValue {
    let name = request.queryValue("name") ?? ""
    let ending = name.split(separator: ".").last.map { String($0).lowercased() } ?? ""
    guard RunSettings.isName(name), name.contains("."), DataList.uploadable.contains(ending) else {
      throw APIError.invalidRequest(
        "A data file must end in .\(DataList.uploadable.joined(separator: ", .")), and its name must have letters, "
          + "digits, '-', '_' and '.' only.", parameter: "name")
    }
    let url = root.appendingPathComponent(name)
    let file = open(url.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard file >= 0 else { throw APIError.conflict("There is a file \(name.quotedExcerpt) already; rename yours.") }
    let opened = OpenFile(descriptor: file, path: url.path, closes: true)
    do {
      try opened.write(request.body)
    } catch {
      unlink(url.path)
      throw SwiftletError.data("the file could not be saved: \(error.reason)")
    }
    return ["file": .string(name)]
  }
}

extension [String] {
  /// The words of a command line without an option and its value, however it is spelled.
  func withoutOption(_ name: String) -> [String] {
    var words: [String] = []
    var isLeftOut = false
    for word in self {
      if word.hasPrefix("--") {
        isLeftOut = word.dropFirst(2).prefix { $0 != "=" }.replacing("-", with: "_") == name
      }
      if !isLeftOut { words.append(word) }
    }
    return words
  }
}
