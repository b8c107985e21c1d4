import Foundation
import OrderedJSON
import Serving
import Tensors
import TestSupport
import Testing

/// `/v1/files` and `/v1/fine_tuning/jobs`, with a program that only leaves what a run leaves.
@Suite struct FineTuningTests {
  private static let row = #"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}"# + "\n"

  /// A server whose runs are the script.
  private static func server(_ script: String) async throws -> (APIServer, URL) {
    let folder = try scratchFolder("jobs")
    let program = folder.appendingPathComponent("program")
    try Program.writeScript(script, to: program)
    let engine = try await TinyFolder.engine(["tiny"])
    let jobs = try FineTuningJobs(
      folder.appendingPathComponent("data"), base: ModelSource(id: "tiny", url: TinyFolder.url), on: CPUBackend.shared,
      engine: engine, program: RunProgram(path: program.path))
    return (APIServer(engine, jobs: jobs), folder.appendingPathComponent("data"))
  }

  private static func form(_ content: String, name: String = "rows.jsonl", purpose: String = "fine-tune") -> [UInt8] {
    Array(
      ("--xyz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n\(purpose)\r\n"
        + "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\(name)\"\r\n"
        + "Content-Type: application/octet-stream\r\n\r\n\(content)\r\n--xyz--\r\n").utf8)
  }

  private static func call(
    _ server: APIServer, _ method: String, _ path: String, _ body: [UInt8] = [],
    type: String = "multipart/form-data; boundary=xyz"
  ) async throws -> (status: Int, json: JSONValue) {
    let response = await server.respond(
      to: HTTPRequest(method: method, target: path, headers: .init([("Content-Type", type)]), body: body))
    guard case .bytes(let bytes) = response.body else { return (0, .null) }
    return (response.status, (try? JSONValue(parsing: bytes)) ?? .string(String(decoding: bytes, as: UTF8.self)))
  }

  @Test func filesAreKept() async throws {
    let (server, folder) = try await Self.server("exit 0\n")
    let content = Self.row + "\r\n--xy\r\n" + Self.row
    let file = try await Self.call(server, "POST", "/v1/files", Self.form(content, name: "../../x;.jsonl"))
    #expect(file.status == 200 && file.json["bytes"]?.integer == content.utf8.count, "\(file.json)")
    let id = try #require(file.json["id"]?.string)
    #expect(try await Self.call(server, "GET", "/v1/files").json["data"]?[0]?["id"]?.string == id)
    #expect(try await Self.call(server, "GET", "/v1/files/\(id)").json["purpose"]?.string == "fine-tune")
    #expect(try await Self.call(server, "GET", "/v1/files/\(id)/content").json.string == content)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["files"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("files").path).count == 2)
    for other in ["file-x", "..%2F..%2Fprogram", "..", "%2Fetc%2Fpasswd", "\(id)%2F..%2F\(id)", "\(id).json"] {
      #expect(try await Self.call(server, "GET", "/v1/files/\(other)").status == 404)
      #expect(try await Self.call(server, "GET", "/v1/files/\(other)/content").status == 404)
      #expect(try await Self.call(server, "DELETE", "/v1/files/\(other)").status == 404)
    }
    #expect(try await Self.call(server, "DELETE", "/v1/files/\(id)").json["deleted"]?.bool == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("files").path).isEmpty)
  }

  @Test(arguments: [
    "", "--xyz", "--xyz--", "--xyz\r\n", "xyz", "--xyz\r\n\r\n\r\nx\r\n--xyz--",
    "--xyz\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xyz--",
    "--xyz\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--xyz",
    "--xyz\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--xyz--",
  ])
  func malformedFormsAreRefused(_ body: String) async throws {
    let (server, folder) = try await Self.server("exit 0\n")
    let answer = try await Self.call(server, "POST", "/v1/files", Array(body.utf8))
    #expect(answer.status == 400, "\(answer.json)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("files").path).isEmpty)
  }

  private static func job(_ server: APIServer, _ members: [(String, JSONValue)] = []) async throws -> (
    status: Int, json: JSONValue
  ) {
    let file = try await call(server, "POST", "/v1/files", form(row)).json["id"] ?? .null
    var body = JSONObject([("model", "tiny"), ("training_file", file)])
    for member in members { body[member.0] = member.1 }
    return try await server.post("/v1/fine_tuning/jobs", .object(body))
  }

  private static func ended(_ server: APIServer, _ id: String) async throws -> JSONValue {
    for _ in 0..<600 {
      let job = try await call(server, "GET", "/v1/fine_tuning/jobs/\(id)").json
      if !["queued", "running"].contains(job["status"]?.string ?? "") { return job }
      try await Task.sleep(for: .milliseconds(100))
    }
    return .null
  }

  @Test func aJobIsARunWithItsRecipe() async throws {
    // What it is called with, and the state of a run that ends at once.
    let (server, folder) = try await Self.server(
      """
      folder="${2%/recipe.yaml}"
      echo "$@" > "$folder/words"
      echo '{"status":"complete","began":5,"step":1,"max_steps":1}' > "$folder/board/run.json"
      echo '{"step":1,"loss":2.5,"elapsed_s":1.0}' > "$folder/board/log.jsonl"
      mkdir "$folder/checkpoint-1"
      """)
    let made = try await Self.job(
      server,
      [
        ("suffix", "yoda"), ("seed", 7),
        (
          "method",
          [
            "type": "supervised",
            "supervised": ["hyperparameters": ["n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5]],
          ]
        ),
      ])
    #expect(made.status == 200 && made.json["object"]?.string == "fine_tuning.job", "\(made.json)")
    let id = try #require(made.json["id"]?.string)
    let job = try await Self.ended(server, id)
    // There is no adapter: the program wrote none.
    #expect(job["status"]?.string == "failed" && job["error"]?["message"]?.string?.isEmpty == false, "\(job)")
    let output = folder.appendingPathComponent(id)
    #expect(
      try String(contentsOf: output.appendingPathComponent("words"), encoding: .utf8) == "sft \(id)/recipe.yaml\n")
    let recipe = try String(contentsOf: output.appendingPathComponent("recipe.yaml"), encoding: .utf8)
    for line in [
      "learning_rate: 0.0001", "num_train_epochs: 2", "per_device_train_batch_size: 1", "seed: 7",
      "assistant_only_loss: true",
      "output_dir: \"\(id)\"", "dataset_name: \"\(id)/data/training.jsonl\"",
    ] { #expect(recipe.contains(line + "\n"), "\(recipe)") }
    let events = try await Self.call(server, "GET", "/v1/fine_tuning/jobs/\(id)/events").json
    #expect(events["data"]?.array?.contains { $0["data"]?["train_loss"]?.double == 2.5 } == true)
    let page = try await Self.call(server, "GET", "/v1/fine_tuning/jobs/\(id)/events?limit=1").json
    #expect(page["data"]?.array?.count == 1 && page["has_more"]?.bool == true)
    let next = try await Self.call(
      server, "GET", "/v1/fine_tuning/jobs/\(id)/events?limit=1&after=\(page["last_id"]?.string ?? "")"
    ).json
    #expect(next["data"]?[0]?["id"] != page["data"]?[0]?["id"])
    let checkpoints = try await Self.call(server, "GET", "/v1/fine_tuning/jobs/\(id)/checkpoints").json
    #expect(checkpoints["data"]?[0]?["step_number"]?.integer == 1)
    #expect(try await Self.call(server, "GET", "/v1/fine_tuning/jobs").json["data"]?.array?.count == 1)
  }

  @Test func jobsRunOneAfterTheOther() async throws {
    let (server, _) = try await Self.server(
      """
      echo '{"status":"preparing","began":99999999999}' > "${2%/recipe.yaml}/board/run.json"
      exec sleep 60
      """)
    let first = try #require(try await Self.job(server).json["id"]?.string)
    let second = try #require(try await Self.job(server).json["id"]?.string)
    for _ in 0..<100
    where try await Self.call(server, "GET", "/v1/fine_tuning/jobs/\(first)").json["status"]?.string == "queued" {
      try await Task.sleep(for: .milliseconds(50))
    }
    #expect(try await Self.call(server, "GET", "/v1/fine_tuning/jobs/\(second)").json["status"]?.string == "queued")
    let cancelled = try await Self.call(server, "POST", "/v1/fine_tuning/jobs/\(second)/cancel").json
    #expect(cancelled["status"]?.string == "cancelled" && cancelled["finished_at"]?.integer != nil)
    #expect(try await Self.call(server, "POST", "/v1/fine_tuning/jobs/\(second)/cancel").status == 409)
    #expect(try await Self.call(server, "GET", "/v1/fine_tuning/jobs/ftjob-no").status == 404)
  }

  private static let badJobs: [(String, JSONValue, String)] = [
    ("model", "gpt-4", "trains"), ("training_file", "file-x", "file-x"), ("validation_file", "file-x", "file-x"),
    ("seed", -1, "seed"), ("suffix", "../x", "suffix"), ("integrations", [["type": "wandb"]], "ntegrations"),
    ("hyperparameters", ["n_epochs": 0], "n_epochs"), ("hyperparameters", ["batch_size": "many"], "batch_size"),
    ("hyperparameters", ["learning_rate_multiplier": 0], "learning_rate_multiplier"),
    ("method", ["type": "reinforcement"], "method"), ("method", ["type": "dpo"], "preferred_output"),
  ]

  @Test(arguments: badJobs)
  func badJobsNameWhatIsWrong(_ key: String, _ value: JSONValue, _ named: String) async throws {
    let (server, folder) = try await Self.server("exit 0\n")
    let answer = try await Self.job(server, [(key, value)])
    #expect((400...404).contains(answer.status), "\(answer.json)")
    let message = "\(answer.json)"
    #expect(message.contains(named), "\(message)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["files"])
  }

  @Test(arguments: [
    "{", "{}", #"{"messages":[]}"#, #"{"messages":[{"role":"user","content":"x"}]}"#, "\n\n",
    #"{"messages":[{"content":"x"}]}"#,
  ])
  func badRowsAreNamed(_ line: String) async throws {
    let (server, _) = try await Self.server("exit 0\n")
    let file =
      try await Self.call(server, "POST", "/v1/files", Self.form(line.contains("{") ? Self.row + line : line)).json[
        "id"] ?? .null
    let answer = try await server.post("/v1/fine_tuning/jobs", ["model": "tiny", "training_file": file])
    #expect(answer.status == 400 && answer.json["error"]?["param"]?.string == "training_file", "\(answer.json)")
    if line.contains("{") { #expect(answer.json["error"]?["message"]?.string?.contains("Line 2") == true) }
  }

  @Test func withoutAFolderNothingIsTrained() async throws {
    let server = APIServer(try await TinyFolder.engine())
    let answer = try await server.post("/v1/fine_tuning/jobs", ["model": "tiny", "training_file": "x"])
    #expect(answer.status == 404 && answer.json["error"]?["message"]?.string?.contains("--fine-tuning") == true)
  }
}
