import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Reports
import Swiftlet
import Tensors

/// `/v1/files` and `/v1/fine_tuning/jobs` of OpenAI's API: each job is a run of `swiftlet`, one after the other, whose
/// adapter becomes a model of the server.
package actor FineTuningJobs {
  private let folder: URL
  private let base: ModelSource
  private let backend: any Backend
  private let engine: GenerationEngine
  private let program: RunProgram
  private var files: UploadedFiles
  /// What OpenAI's API tells of each job, the oldest first.
  private var jobs: [JSONObject] = []
  /// Those that run, but were asked to end.
  private var cancelled: Set<String> = []
  private var isWatching = false

  private static let mostJobs = 1000

  /// Reads the jobs of earlier starts, and goes on with those that wait.
  /// - Parameters:
  ///   - folder: for files and jobs.
  ///   - base: the model to train.
  ///   - backend: computes with the trained models.
  /// - Throws: `SwiftletError` if the folder can't be used.
  package init(
    _ folder: URL, base: ModelSource, on backend: any Backend, engine: GenerationEngine, program: RunProgram
  ) throws(SwiftletError) {
    self.folder = folder
    self.base = base
    self.backend = backend
    self.engine = engine
    self.program = program
    files = try UploadedFiles(folder.appendingPathComponent("files"))
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for name in names where name.hasPrefix("ftjob-") {
      let job = RunFolder(id: name, url: folder.appendingPathComponent(name)).json("job.json")?.object
      if let job, job["id"]?.string == name { jobs.append(job) }
    }
    jobs.sort { ($0["created_at"]?.integer ?? 0) < ($1["created_at"]?.integer ?? 0) }
  }

  /// Serves the models of earlier jobs, and goes on with jobs that wait.
  package func begin() async {
    for job in jobs where Self.status(job) == "succeeded" { try? await serve(job) }
    watch()
  }

  /// 24 random letters and digits.
  static func randomName() -> String {
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    return String((0..<24).map { _ in letters[Int.random(in: 0..<letters.count)] })
  }

  private static var now: Int { Int(Date().timeIntervalSince1970) }
  private static func status(_ job: JSONObject) -> String { job["status"]?.string ?? "" }
  private static func isOpen(_ job: JSONObject) -> Bool { ["queued", "running"].contains(status(job)) }

  // MARK: Requests

  /// Answers a request to a path below `/v1`.
  func respond(to request: HTTPRequest, _ path: [String]) async throws -> HTTPResponse {
    switch (request.method, path.first ?? "", path.count) {
    case ("POST", "files", 1): return .json(.object(try files.add(Multipart(request))))
    case ("GET", "files", 1): return .json(try Self.list(files.entries.reversed(), request))
    case ("GET", "files", 2): return .json(.object(try files.entry(path[1])))
    case ("DELETE", "files", 2):
      try files.remove(path[1])
      return .json(["id": .string(path[1]), "object": "file", "deleted": true])
    case ("GET", "files", 3) where path[2] == "content":
      _ = try files.entry(path[1])
      let bytes = try RegularFile.contents(of: files.url(of: path[1]))
      return HTTPResponse(headers: [("Content-Type", "application/octet-stream")], body: .bytes(bytes))
    case (_, "fine_tuning", 2...4) where path[1] == "jobs": return try await respond(to: request, jobs: path)
    default: throw APIError.notFound("There is nothing at \(request.method) \(request.path.quotedExcerpt).")
    }
  }

  private func respond(to request: HTTPRequest, jobs path: [String]) async throws -> HTTPResponse {
    if path.count == 2 {
      if request.method == "POST" { return .json(.object(try await create(request.json()))) }
      if request.method == "GET" { return .json(try Self.list(jobs.reversed(), request)) }
    } else {
      let id = path[2]
      let index = try index(of: id)
      switch (request.method, path.count == 4 ? path[3] : "") {
      case ("GET", ""): return .json(.object(jobs[index]))
      case ("GET", "events"): return .json(try Self.list(events(of: jobs[index]), request))
      case ("GET", "checkpoints"): return .json(try Self.list(checkpoints(of: jobs[index]), request))
      case ("POST", "cancel"): return .json(.object(try cancel(index)))
      default: break
      }
    }
    throw APIError.notFound("There is nothing at \(request.method) \(request.path.quotedExcerpt).")
  }

  private func index(of id: String) throws(APIError) -> Int {
    guard let index = jobs.firstIndex(where: { $0["id"]?.string == id }) else {
      throw .notFound("There is no fine-tuning job \(id.quotedExcerpt).", code: "fine_tuning_job_not_found")
    }
    return index
  }

  /// A page of a list: the entries that follow "after", "limit" of them.
  private static func list(_ entries: [JSONObject], _ request: HTTPRequest) throws(APIError) -> JSONValue {
    var rest = entries[...]
    if let after = request.queryValue("after"), !after.isEmpty {
      guard let index = entries.firstIndex(where: { $0["id"]?.string == after }) else {
        throw .invalidRequest("\"after\" names no entry.", parameter: "after")
      }
      rest = entries[(index + 1)...]
    }
    let limit = request.queryValue("limit").flatMap { Int($0) } ?? 20
    guard (1...10_000).contains(limit) else {
      throw .invalidRequest("\"limit\" must be from 1 to 10000.", parameter: "limit")
    }
    let page = rest.prefix(limit)
    return [
      "object": "list", "data": .array(page.map { .object($0) }), "has_more": .bool(page.count < rest.count),
      "first_id": page.first?["id"] ?? nil, "last_id": page.last?["id"] ?? nil,
    ]
  }

  // MARK: Jobs

  private func run(of job: JSONObject) -> RunFolder {
    let id = job["id"]?.string ?? ""
    return RunFolder(id: id, url: folder.appendingPathComponent(id))
  }

  private func create(_ json: JSONValue) async throws -> JSONObject {
    let model = try RequestReader(json: json).string("model")
    guard model == base.id else {
      throw APIError.invalidRequest(
        "This server trains \(base.id.quotedExcerpt) only.", parameter: "model")
    }
    guard jobs.count < Self.mostJobs else { throw APIError.conflict("There are \(Self.mostJobs) jobs already.") }
    let request = try FineTuningRequest(json) { file in
      _ = try files.entry(file)
      return try RegularFile.contents(of: files.url(of: file)).count { $0 == UInt8(ascii: "\n") }
    }
    let id = "ftjob-" + Self.randomName()
    let output = folder.appendingPathComponent(id)
    let training = try rows(of: request.trainingFile, request.method, "training_file")
    let validation = try request.validationFile.map { try rows(of: $0, request.method, "validation_file") }
    let data = output.appendingPathComponent("data")
    do {
      try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.training("\(output.path) can't be created")
    }
    func write(_ rows: [JSONObject], _ name: String) throws {
      let lines = rows.map { JSONValue.object($0).text(.compact) + "\n" }.joined()
      try AtomicFile.write(lines, to: data.appendingPathComponent(name))
    }
    try write(training, "training.jsonl")
    if let validation { try write(validation, "validation.jsonl") }
    let recipe = request.recipe(
      model: base, training: "\(id)/data/training.jsonl",
      validation: validation.map { _ in "\(id)/data/validation.jsonl" }, output: id)
    try AtomicFile.write(recipe, to: output.appendingPathComponent("recipe.yaml"))
    let job = JSONObject([
      ("id", .string(id)), ("object", "fine_tuning.job"), ("created_at", .integer(Self.now)), ("finished_at", nil),
      ("model", .string(base.id)), ("fine_tuned_model", nil), ("organization_id", "local"), ("result_files", []),
      ("status", "queued"), ("training_file", .string(request.trainingFile)),
      ("validation_file", request.validationFile.map { .string($0) } ?? nil),
      ("hyperparameters", request.hyperparameters),
      (
        "method",
        .object(
          JSONObject([
            ("type", .string(request.method)),
            (request.method, JSONValue.object(["hyperparameters": request.hyperparameters])),
          ]))
      ),
      ("trained_tokens", nil), ("error", nil), ("seed", .integer(request.seed)),
      ("suffix", request.suffix.map { .string($0) } ?? nil), ("integrations", []), ("estimated_finish", nil),
      ("metadata", json["metadata"] ?? nil),
    ])
    jobs.append(job)
    try save(job)
    watch()
    return job
  }

  private func rows(of file: String, _ method: String, _ parameter: String) throws -> [JSONObject] {
    _ = try files.entry(file)
    return try FineTuningRows.converted(
      RegularFile.contents(of: files.url(of: file)), method: method, parameter: parameter)
  }

  private func save(_ job: JSONObject) throws {
    try AtomicFile.write(
      JSONValue.object(job).text(.pretty) + "\n", to: run(of: job).url.appendingPathComponent("job.json"))
  }

  private func cancel(_ index: Int) throws -> JSONObject {
    switch Self.status(jobs[index]) {
    case "queued": end(index, "cancelled")
    case "running":
      cancelled.insert(jobs[index]["id"]?.string ?? "")
      // What it has learned so far stays in a checkpoint.
      try? run(of: jobs[index]).ask(.pause)
      var job = jobs[index]
      job["status"] = "cancelled"
      return job
    default: throw APIError.conflict("The job has ended already.")
    }
    return jobs[index]
  }

  private func end(_ index: Int, _ status: String, error: String? = nil) {
    jobs[index]["status"] = .string(status)
    jobs[index]["finished_at"] = .integer(Self.now)
    jobs[index]["estimated_finish"] = .null
    jobs[index]["error"] = error.map { ["code": "failed", "message": .string($0), "param": nil] } ?? nil
    try? save(jobs[index])
  }

  // MARK: Running

  /// Starts jobs one after the other, and notices when they end.
  private func watch() {
    guard !isWatching else { return }
    isWatching = true
    Task {
      while jobs.contains(where: Self.isOpen) {
        await advance()
        try? await Task.sleep(for: .milliseconds(300))
      }
      isWatching = false
    }
  }

  private func advance() async {
    if let index = jobs.firstIndex(where: { Self.status($0) == "running" }) { return await follow(index) }
    guard let index = jobs.firstIndex(where: { Self.status($0) == "queued" }) else { return }
    let job = jobs[index]
    let id = job["id"]?.string ?? ""
    let method = job["method"]?["type"]?.string == "dpo" ? "dpo" : "sft"
    jobs[index]["status"] = "running"
    do {
      try save(jobs[index])
      let run = self.run(of: job)
      try run.announce()
      try await program.start(
        [method, "\(id)/recipe.yaml"], title: "Job \(id)", in: folder, printed: run.outputFile)
    } catch {
      guard let index = try? self.index(of: id) else { return }
      end(index, "failed", error: String(describing: error))
    }
  }

  private func follow(_ index: Int) async {
    let job = jobs[index]
    let run = run(of: job)
    let isCancelled = cancelled.contains(run.id)
    let facts = run.facts
    switch run.status {
    case "complete", "stopped":
      jobs[index]["trained_tokens"] = run.json("trainer_state.json")?["num_input_tokens_seen"] ?? nil
      jobs[index]["fine_tuned_model"] = .string(modelID(job))
      do {
        try await serve(jobs[index])
        end(index, isCancelled ? "cancelled" : "succeeded")
      } catch {
        end(index, "failed", error: String(describing: error))
      }
    case "paused": end(index, "cancelled")
    case "failed":
      end(index, isCancelled ? "cancelled" : "failed", error: facts?["error"]?.string ?? "The run failed.")
    case "interrupted":
      let line = run.printed.split(separator: "\n").last.map(String.init)
      end(index, isCancelled ? "cancelled" : "failed", error: line ?? "The run was killed.")
    default:
      // Asked again until it answers: it may not have been far enough to read the first request.
      if isCancelled { try? run.ask(.pause) }
      if let seconds = facts?["remaining_s"]?.double, seconds.isFinite {
        jobs[index]["estimated_finish"] = .integer(Self.now + Int(min(max(0, seconds), 1e9)))
      }
    }
  }

  private func modelID(_ job: JSONObject) -> String {
    let tail = (job["id"]?.string ?? "").suffix(8)
    return "ft:\(base.id):\(job["suffix"]?.string ?? ""):\(tail)"
  }

  private func serve(_ job: JSONObject) async throws {
    var source = base
    source.id = modelID(job)
    source.adapter = run(of: job).url
    try await engine.add(source, on: backend)
  }

  // MARK: Progress

  /// What happened in a job, the latest first.
  private func events(of job: JSONObject) -> [JSONObject] {
    let id = job["id"]?.string ?? ""
    let tail = id.dropFirst("ftjob-".count)
    func event(_ name: String, _ time: Int, _ message: String, _ data: JSONValue = [:], type: String = "message")
      -> JSONObject
    {
      JSONObject([
        ("object", "fine_tuning.job.event"), ("id", .string("ftevent-\(tail)-\(name)")), ("created_at", .integer(time)),
        ("level", "info"), ("message", .string(message)), ("data", data), ("type", .string(type)),
      ])
    }
    let created = job["created_at"]?.integer ?? 0
    var events = [event("created", created, "Created fine-tuning job: \(id)")]
    let run = run(of: job)
    let facts = run.facts
    let began = facts?["began"]?.integer ?? created
    if facts != nil { events.append(event("began", began, "Fine-tuning job started")) }
    let last = facts?["max_steps"]?.integer ?? 0
    for entry in RunLog(of: run, after: nil).entries {
      let step = entry["step"]?.integer ?? 0
      let time = began &+ Int(min(max(0, entry["elapsed_s"]?.double ?? 0), 1e9))
      if let loss = entry["eval_loss"]?.double {
        events.append(
          event(
            "valid-\(step)", events.last?["created_at"]?.integer ?? time,
            "Step \(step)/\(last): full validation loss=\(String(cFormat: "%.4f", loss))",
            ["step": .integer(step), "total_steps": .integer(last), "full_valid_loss": .number(loss)], type: "metrics"))
      } else if let loss = entry["loss"]?.double {
        events.append(
          event(
            "step-\(step)", time, "Step \(step)/\(last): training loss=\(String(cFormat: "%.4f", loss))",
            [
              "step": .integer(step), "total_steps": .integer(last), "train_loss": .number(loss),
              "train_mean_token_accuracy": entry["mean_token_accuracy"] ?? nil,
            ], type: "metrics"))
      }
    }
    if let time = job["finished_at"]?.integer {
      let status = Self.status(job)
      let message =
        status == "succeeded"
        ? "The job has successfully completed" : job["error"]?["message"]?.string ?? "The job was \(status)"
      events.append(event("ended", time, message))
    }
    return events.reversed()
  }

  private func checkpoints(of job: JSONObject) -> [JSONObject] {
    let run = run(of: job)
    let id = job["id"]?.string ?? ""
    let entries = RunLog(of: run, after: nil).entries
    return run.checkpoints.reversed().map { name in
      let step = Int(name.dropFirst("checkpoint-".count)) ?? 0
      var metrics = JSONObject([("step", .integer(step))])
      metrics["train_loss"] = entries.last { $0["step"]?.integer ?? 0 <= step && $0["loss"] != nil }?["loss"]
      metrics["full_valid_loss"] =
        entries.last { $0["step"]?.integer ?? 0 <= step && $0["eval_loss"] != nil }?["eval_loss"]
      return JSONObject([
        ("object", "fine_tuning.job.checkpoint"), ("id", .string("ftckpt-\(id.dropFirst(6))-\(step)")),
        ("created_at", job["created_at"] ?? 0),
        ("fine_tuned_model_checkpoint", .string("\(modelID(job)):ckpt-step-\(step)")),
        ("fine_tuning_job_id", .string(id)), ("metrics", .object(metrics)), ("step_number", .integer(step)),
      ])
    }
  }
}
