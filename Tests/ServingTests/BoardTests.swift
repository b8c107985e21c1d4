import Foundation
import OrderedJSON
import Serving
import TestSupport
import Testing

/// The board's requests, on folders as runs leave them. `CommandTests/BoardTests` drives it with real runs.
@Suite struct BoardTests {
  /// A folder with two runs: one that is complete, and one that was killed.
  private static func folder() throws -> URL {
    let root = try scratchFolder("board").resolvingSymlinksInPath()
    func write(_ path: String, _ text: String) throws {
      let url = root.appendingPathComponent(path)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    try write(
      "first/board/run.json",
      #"{"status":"complete","began":100,"model":"m","method":"sft","step":2,"max_steps":2,"warnings":["a < b"],"#
        + #""command":["sft","r.yaml"],"directory":"/x","recipe":"seed: 1\n"}"#)
    try write("first/board/log.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":Infinity}\n{\"step\":")
    try write("first/board/rows.json", #"[{"tokens":2,"parts":[[{"text":"<script>","trained":true}]]}]"#)
    try write("first/training_args.json", #"{"learning_rate":0.001}"#)
    try write("first/questions.json", #"[{"question":"سؤال","answers":[{"step":0,"answer":"你好"}]}]"#)
    try write("deep/second/board/run.json", #"{"status":"training","began":200,"step":1,"max_steps":9}"#)
    try write("deep/second/checkpoint-1/trainer_state.json", #"{"global_step":1,"log_history":[{"step":1,"loss":3}]}"#)
    try write("rows.jsonl", "{\"question\":\"你好\",\"answer\":\"<b>\"}\n{\"question\":\"q\",\"answer\":null}\n")
    try write("outside.txt", "x")
    return root
  }

  private static func board(_ root: URL, _ change: (inout AccessRules) -> Void = { _ in }) -> BoardServer {
    var access = AccessRules()
    change(&access)
    return BoardServer(
      root, access: access, program: RunProgram(path: "/bin/false"), chat: BoardChat { throw CancellationError() })
  }

  @Test func runsAreFoundWithTheirStatus() async throws {
    let board = Self.board(try Self.folder())
    let runs = try await board.get("/api/runs").json["runs"]?.array ?? []
    #expect(runs.map { $0["id"]?.string } == ["deep/second", "first"])
    // Nothing holds the lock of a run that says it trains.
    #expect(runs.map { $0["status"]?.string } == ["interrupted", "complete"])
    let details = try await board.get("/api/runs/deep%2Fsecond").json
    #expect(details["checkpoints"]?.array?.compactMap(\.string) == ["checkpoint-1"])
    #expect(details["can_resume"]?.bool == false, "nothing tells its command")
    let first = try await board.get("/api/runs/first").json
    #expect(first["warnings"]?.array?.compactMap(\.string) == ["a < b"])
    #expect(first["recipe"]?.string == "seed: 1\n")
    #expect(first["arguments"]?["learning_rate"]?.double == 0.001)
    #expect(try await board.get("/api/runs/first/answers").json[0]?["answers"]?[0]?["answer"]?.string == "你好")
    #expect(try await board.get("/api/runs/first/rows").json[0]?["parts"]?[0]?[0]?["text"]?.string == "<script>")
  }

  /// An audit needs no run.
  @Test func auditsAreShownByKind() async throws {
    let root = try Self.folder()
    let folder = root.appendingPathComponent("deep/new/board")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var lines = [
      #"{"rows":200,"validation_rows":0,"suspects":61,"kinds":[{"kind":"empty","findings":1},{"kind":"thinking","findings":60}]}"#,
      #"{"kind":"empty","rows":[3],"sentence":"Row 3: <script>alert(1)</script>","evidence":"<b>"}"#,
    ]
    lines += (0..<60).map { "{\"kind\":\"thinking\",\"rows\":[\($0 + 10)]}" }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: folder.appendingPathComponent("audit.jsonl"))
    let board = Self.board(root)
    let audits = try await board.get("/api/audits").json.array ?? []
    #expect(audits.map { $0["id"]?.string } == ["deep/new"] && audits.first?["suspects"] == 61)
    let all = try await board.get("/api/audits/deep%2Fnew").json
    #expect(all["summary"]?["rows"] == 200 && all["findings"]?.array?.count == 50 && all["more"] == true)
    #expect(all["findings"]?[0]?["sentence"]?.string == "Row 3: <script>alert(1)</script>")
    let rest = try await board.get("/api/audits/deep%2Fnew?from=50").json
    #expect(rest["findings"]?.array?.count == 11 && rest["more"] == false)
    let empty = try await board.get("/api/audits/deep%2Fnew?kind=empty").json
    #expect(empty["findings"]?.array?.count == 1 && empty["more"] == false)
    let last = try await board.get("/api/audits/deep%2Fnew?kind=thinking&from=50").json
    #expect(last["findings"]?.array?.compactMap { $0["rows"]?[0]?.integer } == Array(60..<70))
    for query in ["kind=%22", "from=-5", "from=9999999999999999999", "from=1000"] {
      #expect(try await board.get("/api/audits/deep%2Fnew?\(query)").status == 200)
    }
    for id in ["first", "deep", "..%2F..", "deep%2Fnew%2Fboard", "%2Fetc"] {
      #expect(try await board.get("/api/audits/\(id)").status == 404, "\(id)")
    }
    // It is no data file, and no run.
    #expect(try await board.get("/api/data").json.array?.compactMap(\.string) == ["outside.txt", "rows.jsonl"])
    #expect(try await board.get("/api/runs").json["runs"]?.array?.count == 2)
    // Links lead nowhere.
    try FileManager.default.moveItem(at: folder, to: root.appendingPathComponent("elsewhere"))
    try FileManager.default.createSymbolicLink(at: folder, withDestinationURL: root.appendingPathComponent("elsewhere"))
    #expect(try await board.get("/api/audits").json.array?.isEmpty == true)
  }

  @Test func aLogIsReadPieceByPiece() async throws {
    let root = try Self.folder()
    let board = Self.board(root)
    let first = try await board.get("/api/runs/first/log").json
    #expect(first["entries"]?.array?.count == 2, "the last line is not complete")
    #expect(first["entries"]?[1]?["loss"]?.isNull == true, "JSON has no infinity")
    #expect(first["reset"]?.bool == false)
    let cursor = try #require(first["cursor"]?.string)
    let log = root.appendingPathComponent("first/board/log.jsonl")
    // Another file under the same name: the run was resumed.
    try Data("{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n".utf8).write(to: log, options: .atomic)
    let again = try await board.get("/api/runs/first/log?cursor=\(cursor)").json
    #expect(again["reset"]?.bool == true && again["entries"]?.array?.count == 3)
    let end = try #require(again["cursor"]?.string)
    let none = try await board.get("/api/runs/first/log?cursor=\(end)").json
    #expect(none["entries"]?.array?.isEmpty == true && none["reset"]?.bool == false)
    // Without a log, that of the trainer's state is shown, also of another program's run.
    #expect(try await board.get("/api/runs/deep%2Fsecond/log").json["entries"]?[0]?["loss"]?.integer == 3)
  }

  @Test func thePageIsPartOfTheProgram() async throws {
    let board = Self.board(try Self.folder())
    let page = try await board.get("/")
    #expect(page.status == 200 && page.text.contains("content=\"\(board.token)\""))
    #expect(page.headers["Content-Security-Policy"]?.contains("default-src 'none'; script-src 'self'") == true)
    for name in ["board.js", "board.css", "uPlot.min.js", "uPlot.min.css", "uPlot-LICENSE.txt"] {
      let file = try await board.get("/\(name)")
      #expect(file.status == 200 && file.text.count > 1000, "\(name)")
    }
    // Everything that the page loads is one of its files.
    for tag in page.text.split(separator: "<") where tag.hasPrefix("script") || tag.hasPrefix("link") {
      #expect(!tag.contains("//"), "\(tag)")
    }
  }

  @Test(arguments: [
    "/rows.jsonl", "/..%2Foutside.txt", "/%2e%2e/outside.txt", "/api/runs/..%2F..%2Fetc", "/api/runs/..",
    "/api/runs/%2Fetc",
    "/api/runs/first%2F..%2Ffirst", "/api/runs/first/board%2Frun.json", "/api/runs/first/../../rows.jsonl",
    "/api/runs/%00",
    "/api/rows?file=..%2F..%2Fetc%2Fpasswd", "/api/rows?file=outside.json", "/api/rows?file=%2Fetc%2Fpasswd",
    "/api/rows?file=first%2Ftraining_args.json", "/api/rows", "/%zz", "//etc/passwd", "/api", "/api/",
  ])
  func noPathLeadsToAnotherFile(_ path: String) async throws {
    let board = Self.board(try Self.folder())
    let answer = try await board.get(path)
    #expect(answer.status == 404, "\(answer.text)")
  }

  @Test func linksAreNotFollowed() async throws {
    let root = try Self.folder()
    let secret = try scratchFolder("secret")
    try Data(#"[{"question":"secret"}]"#.utf8).write(to: secret.appendingPathComponent("questions.json"))
    try Data("{\"a\":1}\n".utf8).write(to: secret.appendingPathComponent("rows.jsonl"))
    let answers = root.appendingPathComponent("first/questions.json")
    try FileManager.default.removeItem(at: answers)
    try FileManager.default.createSymbolicLink(
      at: answers, withDestinationURL: secret.appendingPathComponent("questions.json"))
    try FileManager.default.createSymbolicLink(at: root.appendingPathComponent("linked"), withDestinationURL: secret)
    let board = Self.board(root)
    #expect(try await board.get("/api/runs/first/answers").json.array?.isEmpty == true)
    #expect(try await board.get("/api/data").json.array?.compactMap(\.string) == ["outside.txt", "rows.jsonl"])
  }

  @Test func onlyThePageOfThisServerMayChangeAnything() async throws {
    let root = try Self.folder()
    let board = Self.board(root)
    let body = Array("{}".utf8)
    func status(_ headers: [(String, String)], method: String = "POST") async -> Int {
      await board.respond(
        to: HTTPRequest(method: method, target: "/api/runs/first/stop", headers: .init(headers), body: body)
      ).status
    }
    let host = ("Host", "127.0.0.1:8080")
    let token = ("X-Swiftlet-Token", board.token)
    #expect(await status([host]) == 403)
    #expect(await status([host, ("X-Swiftlet-Token", "wrong")]) == 403)
    #expect(await status([token]) == 400, "no host")
    #expect(await status([token, ("Host", "evil.example")]) == 403)
    #expect(await status([host, token, ("Origin", "http://evil.example")]) == 403)
    #expect(await status([host, token, ("Origin", "null")]) == 403)
    #expect(await status([host, token, ("Origin", "http://127.0.0.1:8080")]) == 409, "it isn't running")
    #expect(await status([host, token], method: "PUT") == 404)
    #expect(!FileManager.default.fileExists(atPath: root.appendingPathComponent("first/board/request").path))
    // Another start of the server has another token.
    #expect(Self.board(root).token != board.token && board.token.count > 40)
  }

  @Test func withAKeyOnlyThePageItselfIsOpen() async throws {
    let board = Self.board(try Self.folder()) { access in
      access.apiKey = "secret"
      access.isLoopback = false
    }
    #expect(try await board.get("/").status == 200)
    #expect(try await board.get("/board.js").status == 200)
    #expect(try await board.get("/api/runs").status == 401)
    let answer = await board.respond(
      to: HTTPRequest(method: "GET", target: "/api/runs", headers: .init([("Authorization", "Bearer secret")])))
    #expect(answer.status == 200)
  }

  @Test func dataIsShownAsATable() async throws {
    let board = Self.board(try Self.folder())
    let table = try await board.get("/api/rows?file=rows.jsonl").json
    #expect(table["columns"]?.array?.compactMap(\.string) == ["question", "answer"])
    #expect(table["rows"]?[0]?.array?.compactMap(\.string) == ["你好", "<b>"])
    #expect(table["rows"]?[1]?[1]?.string == "" && table["count"]?.integer == 2)
  }

  @Test func settingsBecomeARecipe() async throws {
    let board = Self.board(try Self.folder())
    let settings: JSONValue = [
      "name": "new", "model": "org/name", "data": "rows.jsonl", "method": "sft", "form": "chat",
      "columns": ["prompt": "question", "completion": "answer"], "system": "Be {brief}.", "rank": 4,
      "learning_rate": 0.001, "epochs": 2, "validation_percent": 20, "questions": ["Who? # you: 'x'"],
    ]
    let made = try await board.post("/api/recipe", settings).json
    let recipe = try #require(made["recipe"]?.string)
    for line in [
      "model_name_or_path: \"org/name\"", "lora_r: 4", "lora_alpha: 8", "learning_rate: 0.001", "num_train_epochs: 2.0",
      "test_split_size: 0.2", "output_dir: \"new\"",
      #"  - {"rename_columns": {"question": "prompt", "answer": "completion"}}"#,
    ] { #expect(recipe.contains(line + "\n"), "\(recipe)") }
    #expect(
      recipe.contains(#"{"role": "system", "content": "Be {{brief}}."}, {"role": "user", "content": "{prompt}"}"#))
    #expect(made["command"]?.string == "swiftlet sft new/recipe.yaml")
  }

  @Test(arguments: [
    ("name", "../x"), ("name", ""), ("name", ".hidden"), ("name", "a/b"), ("name", "-x"), ("data", "outside.jsonl"),
    ("data", "/etc/passwd"), ("data", "first/training_args.json"), ("model", "../../m"), ("model", "/etc"),
    ("method", "rm"), ("form", "preference"), ("form", "solved"), ("form", "x"),
  ])
  func badSettingsAreNamed(_ key: String, _ value: String) async throws {
    let root = try Self.folder()
    let board = Self.board(root)
    var settings = JSONObject([
      ("name", "new"), ("model", "org/name"), ("data", "rows.jsonl"), ("method", "sft"), ("form", "chat"),
      ("columns", ["prompt": "question", "completion": "answer"]),
    ])
    settings[key] = .string(value)
    for path in ["/api/recipe", "/api/start"] {
      let answer = try await board.post(path, .object(settings))
      #expect(answer.status == 400)
      #expect(try answer.json["error"]?["param"]?.string == key, "\(answer.text)")
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: root.path).sorted() == [
        "deep", "first", "outside.txt", "rows.jsonl",
      ])
  }

  /// A folder with a program that rewards completions, and others that are none.
  private static func folderWithPrograms() throws -> URL {
    let root = try folder()
    for (name, mode) in [
      ("deep/score.sh", 0o755), ("notes.sh", 0o644), ("data.jsonl", 0o755), ("two words.sh", 0o755),
      (".hidden.sh", 0o755),
    ] {
      let url = root.appendingPathComponent(name)
      try Data("#!/bin/sh\n".utf8).write(to: url)
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: url.path)
    }
    try FileManager.default.createSymbolicLink(
      at: root.appendingPathComponent("linked.sh"), withDestinationURL: URL(fileURLWithPath: "/bin/sh"))
    return root
  }

  private static func grpo(_ change: (inout JSONObject) -> Void = { _ in }) -> JSONValue {
    var settings = JSONObject([
      ("name", "new"), ("model", "org/name"), ("data", "rows.jsonl"), ("method", "grpo"), ("form", "solved"),
      ("columns", ["prompt": "question", "solution": "answer"]), ("rewards", ["accuracy_reward"]), ("generations", 4),
      ("completion_length", 16), ("batch_size", 8),
    ])
    change(&settings)
    return .object(settings)
  }

  @Test func settingsOfGRPOBecomeARecipe() async throws {
    let board = Self.board(try Self.folderWithPrograms())
    #expect(try await board.get("/api/programs").json.array?.compactMap(\.string) == ["deep/score.sh"])
    let made = try await board.post("/api/recipe", Self.grpo()).json
    let recipe = try #require(made["recipe"]?.string)
    for line in [
      "method: \"grpo\"", "reward_funcs: [\"accuracy_reward\"]", "num_generations: 4", "max_completion_length: 16",
      "per_device_train_batch_size: 8", "per_device_eval_batch_size: 4",
      #"  - {"select_columns": ["question", "answer"]}"#,
      #"  - {"rename_columns": {"question": "prompt", "answer": "solution"}}"#,
      #"  - {"messages": {"to": "prompt", "messages": [{"role": "user", "content": "{prompt}"}]}}"#,
    ] { #expect(recipe.contains(line + "\n"), "\(recipe)") }
    #expect(made["command"]?.string == "swiftlet grpo new/recipe.yaml")

    // A program reads every column of the rows.
    let judged = try await board.post(
      "/api/recipe",
      Self.grpo {
        $0["form"] = "prompts"
        $0["columns"] = ["prompt": "question"]
        $0["rewards"] = ["think_format_reward", "soft_overlong_punishment"]
        $0["program"] = "deep/score.sh"
      }
    ).json["recipe"]?.string
    #expect(
      judged?.contains(
        #"reward_funcs: ["think_format_reward", "soft_overlong_punishment", "./deep/score.sh"]"# + "\n") == true)
    #expect(judged?.contains("select_columns") == false)
  }

  /// A page names programs of its list only, whatever a recipe could name.
  @Test(
    arguments: [
      ("program", "/bin/sh"), ("program", "deep/../deep/score.sh"), ("program", "deep/score.sh -x"),
      ("program", "notes.sh"),
      ("program", "data.jsonl"), ("program", "two words.sh"), ("program", "linked.sh"), ("program", ".hidden.sh"),
      ("program", "python3"), ("program", ""), ("rewards", "./deep/score.sh"), ("rewards", "sh -c true"),
      ("rewards", []),
      ("rewards", ["accuracy_reward", "accuracy_reward"]), ("rewards", nil), ("rewards", [1]), ("generations", 1),
      ("generations", 1.5), ("completion_length", 0),
    ] as [(String, JSONValue?)])
  func badSettingsOfGRPOAreNamed(_ key: String, _ value: JSONValue?) async throws {
    let root = try Self.folderWithPrograms()
    let board = Self.board(root)
    for path in ["/api/recipe", "/api/plan", "/api/start"] {
      let answer = try await board.post(path, Self.grpo { $0[key] = value })
      #expect(answer.status == 400)
      #expect(try answer.json["error"]?["param"]?.string == key, "\(answer.text)")
    }
    #expect(!FileManager.default.fileExists(atPath: root.appendingPathComponent("new").path))
  }

  @Test func settingsOfGRPOMustFitEachOther() async throws {
    let board = Self.board(try Self.folderWithPrograms())
    let unsolved = try await board.post(
      "/api/recipe",
      Self.grpo {
        $0["form"] = "prompts"
        $0["columns"] = ["prompt": "question"]
      })
    #expect(unsolved.status == 400 && unsolved.text.contains("solutions"), "\(unsolved.text)")
    // What the recipe finds wrong is told too.
    let uneven = try await board.post("/api/recipe", Self.grpo { $0["batch_size"] = 6 })
    #expect(uneven.status == 400 && uneven.text.contains("num_generations"), "\(uneven.text)")
  }

  /// Naming a program runs it, so no other page may.
  @Test func onlyThePageItselfNamesPrograms() async throws {
    let root = try Self.folderWithPrograms()
    let board = Self.board(root)
    let body = Array(Self.grpo { $0["program"] = "deep/score.sh" }.text(.compact).utf8)
    for headers in [
      [("Host", "localhost:8080")], [("Host", "localhost:8080"), ("X-Swiftlet-Token", "wrong")],
      [("Host", "localhost:8080"), ("X-Swiftlet-Token", board.token), ("Origin", "http://evil.example")],
      [("Host", "evil.example"), ("X-Swiftlet-Token", board.token), ("Origin", "http://evil.example")],
    ] {
      let status = await board.respond(
        to: HTTPRequest(method: "POST", target: "/api/start", headers: .init(headers), body: body)
      ).status
      #expect(status == 403, "\(headers)")
    }
    #expect(!FileManager.default.fileExists(atPath: root.appendingPathComponent("new").path))
  }

  @Test func uploadsStayInTheFolder() async throws {
    let root = try Self.folder()
    let board = Self.board(root)
    func upload(_ name: String) async throws -> Int {
      let headers = [("Host", "localhost"), ("X-Swiftlet-Token", board.token)]
      return await board.respond(
        to: HTTPRequest(
          method: "POST", target: "/api/data?name=\(name)", headers: .init(headers), body: Array("{}".utf8))
      ).status
    }
    #expect(try await upload("new.jsonl") == 200)
    #expect(try await upload("new.jsonl") == 409)
    for name in ["..%2Fx.jsonl", "a%2Fb.jsonl", ".x.jsonl", "x.exe", "jsonl", "", "x.jsonl%00", "recipe.yaml"] {
      #expect(try await upload(name) == 400, "\(name)")
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: root.path).sorted() == [
        "deep", "first", "new.jsonl", "outside.txt", "rows.jsonl",
      ])
  }
}

/// A response with its whole body.
struct BoardAnswer {
  var status: Int
  var headers: [String: String]
  var text: String

  var json: JSONValue {
    get throws { try JSONValue(parsing: text) }
  }
}

extension BoardServer {
  func get(_ target: String) async throws -> BoardAnswer {
    await answer(HTTPRequest(method: "GET", target: target, headers: .init([("Host", "localhost:8080")])))
  }

  func post(_ target: String, _ body: JSONValue) async throws -> BoardAnswer {
    await answer(
      HTTPRequest(
        method: "POST", target: target, headers: .init([("Host", "localhost:8080"), ("X-Swiftlet-Token", token)]),
        body: Array(body.text(.compact).utf8)))
  }

  private func answer(_ request: HTTPRequest) async -> BoardAnswer {
    let response = await respond(to: request)
    var bytes: [UInt8] = []
    if case .bytes(let all) = response.body { bytes = all }
    return BoardAnswer(
      status: response.status, headers: Dictionary(response.headers.map { ($0.name, $0.value) }) { $1 },
      text: String(decoding: bytes, as: UTF8.self))
  }
}
