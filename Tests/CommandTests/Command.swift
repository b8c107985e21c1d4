import Foundation
import OrderedJSON
import TestSupport
import Testing

/// Runs the built command as a user would.
enum Command {
  /// `SWIFTLET_EXECUTABLE`, else the executable that was built with these tests.
  static let executable: URL = {
    if let path = ProcessInfo.processInfo.environment["SWIFTLET_EXECUTABLE"] { return URL(fileURLWithPath: path) }
    let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }?.bundleURL
    let tests = bundle ?? URL(fileURLWithPath: CommandLine.arguments.first ?? "").resolvingSymlinksInPath()
    return tests.deletingLastPathComponent().appendingPathComponent("swiftlet")
  }()

  /// Runs the command with `folder` as its working directory, offline, and gives it 100 seconds.
  /// - Parameters:
  ///   - limits: a shell command to run first, such as `ulimit -f 8`.
  ///   - launcher: the program to run instead, with `words`.
  ///   - whileRunning: called with the process's number once it runs.
  static func run(
    _ words: [String], in folder: Workspace, input: String = "", environment: [String: String] = [:],
    limits: String? = nil, launcher: String? = nil, whileRunning: (@Sendable (Int32) async throws -> Void)? = nil
  ) async throws -> Program.Outcome {
    var variables = ProcessInfo.processInfo.environment
    variables["HF_HUB_OFFLINE"] = "1"
    variables["HF_HOME"] = folder.url.appendingPathComponent("cache").path
    variables["SWIFTLET_CACHE"] = folder.url.appendingPathComponent("cache").path
    variables["SWIFT_BACKTRACE"] = "enable=no"
    variables.merge(environment) { $1 }
    let program = launcher ?? (limits == nil ? executable.path : "/bin/sh")
    let prefix = limits.map { ["-c", "\($0); exec \"$0\" \"$@\"", executable.path] } ?? []
    var tasks: [Task<Void, any Error>] = []
    let outcome = try await Program.run(
      program, prefix + words, input: input, environment: variables, in: folder.url
    ) { number in
      let watchdog = Task {
        try await Task.sleep(for: .seconds(100))
        kill(number, SIGTERM)
        // A training run saves a checkpoint first; nothing may take long.
        try await Task.sleep(for: .seconds(10))
        kill(number, SIGKILL)
      }
      tasks.append(watchdog)
      if let whileRunning { Task { try await whileRunning(number) } }
    }
    for task in tasks { task.cancel() }
    return outcome
  }
}

/// A temporary folder with a tiny Llama in `m` and four rows in `rows.jsonl`.
final class Workspace: Sendable {
  let url: URL

  static let goldens = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Goldens")

  static let rows = """
    {"prompt": "Say it: ", "completion": "你好，世界"}
    {"prompt": "廣東話：", "completion": "唔該晒 🙂"}
    {"prompt": "Yoda ", "completion": "wise he is"}
    {"prompt": "cat ", "completion": "sat the cat"}

    """

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    try model("m")
    try write("rows.jsonl", Self.rows)
  }

  /// A folder with the same files as another.
  init(copying other: Workspace) throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString)")
    try FileManager.default.copyItem(at: other.url, to: url)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// A model folder: a golden family with the golden tokenizer.
  func model(_ name: String, family: String = "llama") throws {
    let folder = url.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let models = Self.goldens.appendingPathComponent("models")
    for file in [
      "\(family)/config.json", "\(family)/model.safetensors", "tokenizer/tokenizer.json",
      "tokenizer/tokenizer_config.json",
    ] {
      let source = models.appendingPathComponent(file)
      try FileManager.default.copyItem(at: source, to: folder.appendingPathComponent(source.lastPathComponent))
    }
  }

  func write(_ name: String, _ text: String) throws { try write(name, Data(text.utf8)) }

  func write(_ name: String, _ data: Data) throws {
    let file = url.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try data.write(to: file)
  }

  func data(_ name: String) throws -> Data { try Data(contentsOf: url.appendingPathComponent(name)) }

  func json(_ name: String) throws -> JSONValue { try JSONValue(parsing: try data(name)) }

  func remove(_ name: String) throws { try FileManager.default.removeItem(at: url.appendingPathComponent(name)) }

  func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: url.appendingPathComponent(name).path)
  }

  /// Runs the command here.
  func run(
    _ words: String..., input: String = "", environment: [String: String] = [:]
  ) async throws -> Program.Outcome {
    try await Command.run(words, in: self, input: input, environment: environment)
  }

  /// Runs a line of words that have no spaces in them.
  func run(line: String, _ more: String...) async throws -> Program.Outcome {
    try await Command.run(line.split(separator: " ").map(String.init) + more, in: self)
  }

  /// Trains a LoRA adapter on `rows.jsonl` for a few steps; `keys` comes first on the command line.
  @discardableResult
  func train(
    _ keys: String, to output: String, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Program.Outcome {
    let outcome = try await run(
      line: "sft --model_name_or_path m --dataset_name rows.jsonl --output_dir \(output) \(keys)")
    #expect(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(outcome.output == "", "a training run has no result on standard output", sourceLocation: sourceLocation)
    return outcome
  }
}

extension Program.Outcome {
  /// Standard output as the one JSON value it must be.
  func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> JSONValue {
    #expect(status == 0, "\(errors)", sourceLocation: sourceLocation)
    return try JSONValue(parsing: output)
  }

  /// Standard output of a run that must succeed.
  func text(sourceLocation: SourceLocation = #_sourceLocation) -> String {
    #expect(status == 0, "\(errors)", sourceLocation: sourceLocation)
    return output
  }
}

extension JSONValue {
  /// A list's whole numbers.
  var integers: [Int]? { array?.compactMap(\.integer) }
}

/// Two numbers that agree to seven digits.
func expectClose(_ a: JSONValue?, _ b: JSONValue?, sourceLocation: SourceLocation = #_sourceLocation) throws {
  let (a, b) = (try #require(a?.double), try #require(b?.double))
  #expect(abs(a - b) <= 1e-6 * max(abs(a), abs(b)), sourceLocation: sourceLocation)
}
