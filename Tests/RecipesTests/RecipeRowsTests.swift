import Diagnostics
import Datasets
import Recipes
import Reports
import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

@Suite struct RecipeRowsTests {
  /// A folder with ten rows of numbers in `a.jsonl`, five in `b.jsonl`, and two in `held.jsonl`.
  private func withRows<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("rows-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for (name, numbers) in [("a", 0..<10), ("b", 100..<105), ("held", 200..<202)] {
      let lines = numbers.map { "{\"n\": \($0), \"lang\": \"\($0 % 2 == 0 ? "yue" : "zh")\"}\n" }.joined()
      try lines.write(to: folder.appendingPathComponent("\(name).jsonl"), atomically: true, encoding: .utf8)
    }
    return try body(folder.path)
  }

  private func numbers(_ rows: (any RowSource)?) throws -> [Int] {
    try #require(rows).allRows().compactMap { $0["n"]?.integer }
  }

  @Test func stepsAreTakenInOrder() throws {
    try withRows { folder in
      let recipe = try Recipe(
        yaml: """
          dataset_name: \(folder)/a.jsonl
          eval_dataset: \(folder)/held.jsonl
          steps:
            - filter: {column: lang, equals: yue}
            - select: {start: 1, count: 3}
            - rename_columns: {lang: tongue}
            - template: "{n} in {tongue}"
            - messages: [{role: user, content: "{n}"}]
            - remove_columns: [tongue]
          """)
      let rows = try RecipeRows(recipe)
      #expect(try numbers(rows.train) == [2, 4, 6])
      #expect(try rows.train.row(at: 0).keys == ["n", "text", "messages"])
      #expect(try rows.train.row(at: 0)["text"] == "2 in yue")
      #expect(try rows.train.row(at: 0)["messages"] == [["role": "user", "content": "2"]])
      #expect(try numbers(rows.evaluation) == [200])
    }
  }

  @Test func sourcesAreJoinedOrMixedByShare() throws {
    try withRows { folder in
      let joined = try Recipe(yaml: "datasets: [{path: \(folder)/a.jsonl, steps: [{select: 2}]}, \(folder)/b.jsonl]")
      #expect(try numbers(RecipeRows(joined).train) == [0, 1, 100, 101, 102, 103, 104])
      let mixed = try Recipe(
        yaml: "datasets: [{path: \(folder)/a.jsonl, fraction: 0.2}, {path: \(folder)/b.jsonl, fraction: 0.8}]")
      #expect(try numbers(RecipeRows(mixed).train) == [0, 100, 101, 102, 103, 104])
    }
  }

  @Test func validationRowsAreSplitOffOnce() throws {
    try withRows { folder in
      for yaml in ["test_split_size: 0.2", "test_split_size: 2", "steps: [{split: {test_size: 0.2, seed: 42}}]"] {
        let rows = try RecipeRows(Recipe(yaml: "dataset_name: \(folder)/a.jsonl\n\(yaml)\nmax_train_samples: 5"))
        #expect(try numbers(rows.train).count == 5)
        #expect(try numbers(rows.evaluation).count == 2)
        #expect(Set(try numbers(rows.train)).isDisjoint(with: try numbers(rows.evaluation)))
      }
      #expect(try RecipeRows(Recipe(yaml: "dataset_name: \(folder)/a.jsonl")).evaluation == nil)
    }
  }

  @Test func chatTemplateRendersMessages() throws {
    try withRows { folder in
      let recipe = try Recipe(
        yaml: """
          dataset_name: \(folder)/a.jsonl
          steps: [{messages: [{role: user, content: "{n}"}]}, {apply_chat_template: text}]
          """)
      #expect(throws: SwiftletError.self) { try RecipeRows(recipe) }
      var tokenizer = RowTokenizer(
        encode: { _, _ in [] }, encodeWithOffsets: { _ in ([], []) }, decode: { _ in "" }, isAdded: { _ in false },
        eosToken: nil)
      tokenizer.render = { conversation in
        .init(text: conversation.messages.map { "<\($0.content)>" }.joined())
      }
      let row = try RecipeRows(recipe, tokenizer: tokenizer).train.row(at: 3)
      #expect(row["text"]?.string == "<3>")
      #expect(row["messages"] == nil)
    }
  }

  @Test func mistakesAreOneSentence() throws {
    try withRows { folder in
      for yaml in [
        "dataset_name: \(folder)/none.jsonl", "seed: 1",
        "datasets: [{path: \(folder)/a.jsonl, steps: [{split: 0.5}]}]",
      ] {
        #expect(throws: SwiftletError.self, "\(yaml)") { try RecipeRows(Recipe(yaml: yaml)) }
      }
      let huge = try Recipe(
        yaml: "dataset_name: \(folder)/a.jsonl\nsteps: [{select: {start: 9, count: 9223372036854775807}}]")
      #expect(try numbers(RecipeRows(huge).train) == [9])
    }
  }

  @Test func splitsOfFilesAndFolders() throws {
    try withRows { folder in
      func rows(_ yaml: String) throws -> RecipeRows { try RecipeRows(Recipe(yaml: yaml)) }
      let part = try rows("dataset_name: \(folder)/b.jsonl\ndataset_train_split: train[:2]+train[-1:]")
      #expect(try numbers(part.train) == [100, 101, 104])
      // The rows of a file are for training; they are never measured in silence.
      for yaml in ["dataset_train_split: test", "eval_strategy: steps", "dataset_config: zh"] {
        #expect(throws: SwiftletError.self, "\(yaml)") { try rows("dataset_name: \(folder)/a.jsonl\n\(yaml)") }
      }
      let format = "datasets: [{path: json, data_files: {train: \(folder)/b.jsonl, test: ['\(folder)/h*.jsonl']}"
      #expect(try numbers(rows("\(format)}]").train) == [100, 101, 102, 103, 104])
      #expect(try numbers(rows("\(format), split: test}]").train) == [200, 201])
      #expect(throws: SwiftletError.self) { try rows("\(format), split: validation}]") }
      #expect(throws: SwiftletError.self) { try rows("dataset_name: /") }
    }
  }

  @Test func configurationsOfAFolder() throws {
    try withRows { folder in
      func numbers(_ yaml: String) throws -> [Int] {
        try self.numbers(RecipeRows(Recipe(yaml: "dataset_name: \(folder)\n\(yaml)")).train)
      }
      func write(_ card: String) throws {
        try card.write(toFile: folder + "/README.md", atomically: true, encoding: .utf8)
      }
      try FileManager.default.createDirectory(atPath: folder + "/sub", withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: folder + "/b.jsonl", toPath: folder + "/sub/train.jsonl")
      #expect(try numbers("dataset_config: sub") == [100, 101, 102, 103, 104])
      #expect(throws: SwiftletError.self) { try numbers("dataset_config: none") }

      let both = """
        ---
        license: mit
        configs:
        - config_name: small
          data_files:
          - {split: train, path: he*.jsonl}
        - config_name: large
          data_files: [{split: train, path: [b.jsonl, held.jsonl]}, {split: dev, path: a.jsonl}]
        """
      try write("\(both)\n---\n# Rows\n")
      #expect(try numbers("dataset_config: small") == [200, 201])
      #expect(try numbers("dataset_config: large") == [100, 101, 102, 103, 104, 200, 201])
      #expect(try numbers("dataset_config: large\ndataset_train_split: dev").count == 10)
      #expect { try numbers("") } throws: { "\($0)".contains("set dataset_config to one of small, large") }
      #expect(throws: SwiftletError.self) { try numbers("dataset_config: medium") }
      try write("\(both)\n  default: true\n---\n")
      #expect(try numbers("").count == 7)
      try write("---\nconfigs: [{config_name: [a]}]\n---\n")
      #expect(throws: SwiftletError.self) { try numbers("") }
      try write("---\nlicense: [\n---\n")
      #expect(try numbers("").count == 5)
    }
  }

  /// The recipes of the examples name data files that exist and have the columns that training needs.
  @Test(arguments: [
    ("demo", 360, 40, ["prompt", "completion"]), ("yoda", 360, 40, ["prompt", "completion"]),
    ("medical-reasoning", 60, nil, ["text"]),
  ])
  func examplesHaveTheirRows(name: String, trained: Int, heldOut: Int?, columns: [String]) throws {
    let rows = try RecipeRows(Self.example(name))
    #expect(rows.train.count == trained && rows.evaluation?.count == heldOut)
    #expect(try rows.train.row(at: trained - 1).keys == columns)
  }

  /// What the page "Your own twenty rows" has people paste is a recipe and its rows.
  @Test func thePageOfTwentyRowsWorksAsWritten() throws {
    let page = try String(
      contentsOf: repository.appendingPathComponent("Documentation/TwentyRows.md"), encoding: .utf8)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("twenty-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for name in ["rows.csv", "recipe.yaml"] {
      let parts = page.components(separatedBy: "cat > \(name) <<'END'\n")
      let text = try #require(parts.last?.components(separatedBy: "\nEND\n").first)
      #expect(parts.count == 2)
      try (text + "\n").write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8)
    }
    let recipe = try Recipe(commandLine: [folder.appendingPathComponent("recipe.yaml").path])
    try recipe.checkComplete()
    let rows = try RecipeRows(recipe).train
    #expect(rows.count == 20)
    for index in 0..<20 {
      let messages = try rows.row(at: index)["messages"]?.array
      #expect(messages?.compactMap { $0["role"]?.string } == ["system", "user", "assistant"])
      #expect(messages?.last?["content"]?.string?.hasSuffix(" stop") == true)
    }
  }

  @Test func exampleOfTwoSourcesMakesMessagesOfBoth() throws {
    var recipe = try Self.example("cantonese")
    recipe.data.steps = []  // They render the chat template of a model.
    let rows = try RecipeRows(recipe)
    #expect(rows.train.count == 200 && rows.evaluation?.count == 20)
    for index in [0, 199] {
      let messages = try rows.train.row(at: index)["messages"]?.array
      #expect(messages?.compactMap { $0["role"]?.string } == ["system", "user", "assistant"])
    }
    #expect(
      try rows.train.row(at: 199)["messages"]?.array?.last?["content"]?.string == "生日快樂！個蛋糕係我自己整㗎。")
  }

  @Test(.enabled(if: hasDuckDB, "Parquet is read through the DuckDB command line"))
  func exampleInParquetHasItsRows() throws {
    let rows = try RecipeRows(Self.example("assistant"))
    #expect(rows.train.count == 78)
    #expect(try rows.train.row(at: 2)["messages"]?.array?.first?["role"]?.string == "system")
  }

  private static func example(_ name: String) throws -> Recipe {
    try Recipe(commandLine: ["--config", repository.appendingPathComponent("Examples/\(name)/recipe.yaml").path])
  }

  private static var hasDuckDB: Bool {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/duckdb") }
  }
}
