import Diagnostics
import Foundation
import Models
import OrderedJSON
import TestSupport
import Testing
import Training

/// The rewards that recipes can name, and programs.
@Suite struct RewardTests {
  private static func scores(_ name: String, _ completions: [SampledCompletion], maxLength: Int = 10) throws
    -> [Double?]
  {
    var settings = GRPOConfiguration()
    settings.rewards = [name]
    settings.maxCompletionLength = maxLength
    settings.rewardTimeout = 1
    return try #require(settings.makeRewards().first).scores(completions)
  }

  private static func completion(_ text: String, length: Int = 1, row: JSONObject = JSONObject()) -> SampledCompletion {
    SampledCompletion(row: row, text: text, ids: [Int32](repeating: 1, count: length))
  }

  private static func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test(arguments: ["think_format_reward", "soft_overlong_punishment", "get_soft_overlong_punishment"])
  func equalsTRL(_ name: String) throws {
    let json = try golden("method_runs/data/rewards.json")
    let texts = try #require(json["texts"]?.array).compactMap(\.string)
    let lengths = try #require(json["lengths"]?.array).compactMap(\.integer)
    let completions =
      name.hasPrefix("think") ? texts.map { Self.completion($0) } : lengths.map { Self.completion("", length: $0) }
    let theirs = try #require(json[name]?.array).map(\.double)
    #expect(try Self.scores(name, completions) == theirs)
    #expect(theirs.count > 10)
  }

  @Test func finalAnswers() throws {
    let cases: [(text: String, answer: JSONValue, score: Double)] = [
      ("so it is \\boxed{72}.", "72", 1), ("\\boxed{1} or \\boxed{\\frac{1}{2}}", "\\frac{1}{2}", 1),
      ("<answer> 1,250 </answer> of 7", 1250, 1), ("#### 42", "work\n#### 42", 1), ("5 + 7 = 12", "12.0", 1),
      ("about -3", "3", 0), ("-3", "-3", 1), ("it is 3/4", "0.75", 1), ("0.5%", "0.5", 1),
      ("<answer>Paris</answer>", "paris", 1),
      ("Paris", "paris", 0), ("12 and 13", "12", 0), ("none", "12", 0), ("1/0", "7", 0), ("", "x", 0),
    ]
    for (text, answer, score) in cases {
      for column in ["solution", "answer"] {
        let row = JSONObject([(column, answer)])
        #expect(try Self.scores("accuracy_reward", [Self.completion(text, row: row)]) == [score], "\(text)")
      }
    }
    let text = Self.message { _ = try Self.scores("accuracy_reward", [Self.completion("1")]) }
    #expect(text.contains("needs a column \"solution\" or \"answer\""))
  }

  /// A shell script in a folder whose name has a space, and its command line.
  private static func program(_ folder: URL, _ body: String, name: String = "score.sh") throws -> String {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let file = folder.appendingPathComponent(name)
    try Program.writeScript(body, to: file)
    return "\"\(file.path)\""
  }

  @Test func programsReadLinesAndPrintNumbers() throws {
    let folder = try scratchFolder("reward programs")
    defer { try? FileManager.default.removeItem(at: folder) }
    let copy = folder.appendingPathComponent("copy.jsonl").path
    let line = try Self.program(folder, "cat > \"$1\"; echo 0.5; echo null; echo -1e-1")
    let rows = [JSONObject([("prompt", "a\nb"), ("completion", "old"), ("n", 7)]), JSONObject(), JSONObject()]
    let completions = rows.map { Self.completion("x\"y", row: $0) }
    #expect(try Self.scores("\(line) '\(copy)'", completions) == [0.5, nil, -0.1])
    let lines = try String(contentsOfFile: copy, encoding: .utf8).split(separator: "\n").map(String.init)
    #expect(lines.count == 3)
    let first = try JSONValue(parsing: Array(lines[0].utf8))
    #expect(first == ["prompt": "a\nb", "completion": "x\"y", "n": 7])
  }

  @Test func programsThatFailAreNamed() throws {
    let folder = try scratchFolder("reward programs")
    defer { try? FileManager.default.removeItem(at: folder) }
    let faults = [
      ("echo broken >&2; exit 3", "ended with status 3: broken"),
      ("echo 1; echo 2", "printed 2 lines for 1 completions"),
      ("echo nan", "printed \"nan\" in line 1"), ("echo yes", "printed \"yes\" in line 1"), ("", "printed 0 lines"),
      ("exec sleep 60", "has not ended after 1.0 seconds"), ("kill -9 $$", "ended with status 137"),
    ]
    for (body, expected) in faults {
      let line = try Self.program(folder, body)
      let text = Self.message { _ = try Self.scores(line, [Self.completion("1")]) }
      #expect(text.contains(expected), "\(body): \(text)")
      #expect(text.contains("score.sh"))
    }
    #expect(Self.message { _ = try Self.scores("accuracy", []) }.contains("neither a built-in reward (accuracy_reward"))
    #expect(Self.message { _ = try Self.scores("./missing.py", []) }.contains("nor a program"))
    let plain = folder.appendingPathComponent("plain.py")
    try Data().write(to: plain)
    #expect(Self.message { _ = try Self.scores("'\(plain.path)'", []) }.contains("chmod +x"))
    #expect(Self.message { _ = try GRPOConfiguration().makeRewards() }.contains("needs `rewards`"))
  }

  @Test func programsAreFoundBesideTheRecipe() throws {
    let folder = try scratchFolder("reward programs")
    defer { try? FileManager.default.removeItem(at: folder) }
    _ = try Self.program(folder, "echo 1", name: "judge.sh")
    var settings = GRPOConfiguration()
    settings.rewards = ["sh judge.sh", "./judge.sh"]
    func locate(_ name: String) -> String {
      let beside = folder.appendingPathComponent(name).path
      return FileManager.default.fileExists(atPath: beside) ? beside : name
    }
    #expect(Self.message { _ = try settings.makeRewards(locate: locate) }.contains("two rewards are called judge"))
    settings.rewards.removeLast()
    let reward = try #require(settings.makeRewards(locate: locate).first)
    #expect(try reward.scores([Self.completion("")]) == [1])
  }
}
