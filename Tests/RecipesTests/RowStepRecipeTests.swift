import Datasets
import Recipes
import Reports
import TestSupport
import Training
import Testing

@Suite struct RowStepRecipeTests {
  @Test func everyStepIsRead() throws {
    let data = try Recipe(
      yaml: """
        datasets:
          - path: a.jsonl
            fraction: 0.25
            steps:
              - messages:
                  - {role: system, content: 你係翻譯。}
                  - {role: user, content: "{zh}"}
          - {path: org/b, name: sub, split: "train[:10]", columns: [x, y], fraction: 0.75, data_files: b.json}
        steps:
          - filter: {column: lang, equals: yue}
          - filter: {column: a.b}
          - select: 1500
          - select: {start: 10, count: 5}
          - rename_columns: {sentence: prompt, translation: completion}
          - remove_columns: translation_extra
          - select_columns: [prompt, completion]
          - template: "Q: {Question}"
          - template: {to: prompt, text: "{a}"}
          - apply_chat_template: text
          - shuffle: 3407
          - split: {test_size: 0.1, seed: 7}
        eval_dataset: held.jsonl
        questions: [你好, {text: Hi, system: Be brief}]
        """
    ).data
    #expect(data.sources.count == 2)
    #expect(
      data.sources.first?.steps == [
        .messages(
          column: "messages",
          [
            .init(role: "system", content: try TextPattern("你係翻譯。")),
            .init(role: "user", content: try TextPattern("{zh}")),
          ])
      ])
    #expect(
      data.sources.last
        == DatasetSource(
          path: "org/b", name: "sub", dataFiles: ["train": ["b.json"]], split: "train[:10]", columns: ["x", "y"],
          fraction: 0.75))
    #expect(
      data.steps == [
        .filter(column: "lang", equals: "yue"), .filter(column: "a.b", equals: nil), .select(0..<1500),
        .select(10..<15),
        .renameColumns([.init("sentence", "prompt"), .init("translation", "completion")]),
        .removeColumns(["translation_extra"]), .selectColumns(["prompt", "completion"]),
        .template(column: "text", try TextPattern("Q: {Question}")),
        .template(column: "prompt", try TextPattern("{a}")), .applyChatTemplate(column: "text"), .shuffle(seed: 3407),
        .split(Split(testSize: .fraction(0.1), seed: 7, part: .train)),
      ])
    #expect(data.evalDataset == DatasetSource(path: "held.jsonl"))
    #expect(data.questions == .inline([.init("你好"), .init("Hi", system: "Be brief")]))
  }

  @Test(arguments: [
    ("steps: [{selekt: 3}]", "steps[0] is an unknown step selekt; did you mean select?"),
    ("steps: [shuffle]", "steps[0] must be a step, one of select,"),
    ("steps: [{select: 0}]", "steps[0].select must keep at least one row"),
    (
      "steps: [{select: {begin: 1, count: 2}}]",
      "steps[0].select has an unknown member begin; its members are start, count"
    ),
    ("steps: [{filter: {colum: a}}]", "steps[0].filter has an unknown member colum; did you mean column?"),
    ("steps: [{messages: [{role: user}]}]", "steps[0].messages[0] must have a member content"),
    ("steps: [{template: 'a {b'}]", "steps[0].template is not valid: "),
    ("steps: [{shuffle: -1}]", "steps[0].shuffle must be an integer of at least 0 (got \"-1\")"),
    ("datasets: [{path: x, query: y}]", "datasets[0] has both a query and the path x; keep one of them"),
    ("query: x\ndataset_name: y", "query cannot be combined with dataset_name; keep one of them"),
    ("steps: [{split: 0}]", "steps[0].split must be a share between 0 and 1"),
    ("steps: [{split: {test_size: 1.5}}]", "steps[0].split must be a share between 0 and 1"),
    ("datasets: [{name: x}]", "datasets[0] must have a member path"),
    ("datasets: [{path: x, fraction: -1}]", "datasets[0].fraction must not be below 0"),
    ("datasets: [{path: x, pth: y}]", "datasets[0] has an unknown member pth; did you mean path?"),
  ])
  func mistakesAreNamed(yaml: String, expected: String) {
    #expect { try Recipe(yaml: yaml) } throws: { error in
      "\(error)".contains(expected) || "\(error)" == expected
    }
  }
}
