import OrderedJSON
import Training

extension RecipeKey {
  /// The page `Documentation/RecipeKeys.md`, generated from the table.
  public static var documentationPage: String {
    var page = """
      # Recipe keys

      A recipe is a YAML file of `key: value` lines (`swiftlet sft recipe.yaml`). Each key can also be set or overridden on
      the command line (`--learning_rate 2e-4` or `--learning-rate=2e-4`). The names are those of TRL 1.16's
      `ScriptArguments`, `ModelConfig`, `SFTConfig`, `DPOConfig`, `ORPOConfig`, `CPOConfig`, `KTOConfig`, `GRPOConfig`,
      `RewardConfig` and dataset mixture, of PEFT's `LoraConfig`, and of bitsandbytes' configuration, so recipes for `trl sft` and
      `trl dpo` work unchanged. Any other key is an error that suggests the nearest one. `swiftlet sft --help-keys` prints the
      supported keys.

      All methods have the same keys, except for those in the section of a method.

      This page is generated from the table in `Sources/Recipes/RecipeKeyTable.swift`; a test compares the two.


      """
    let all = everyKey
    for section in Section.allCases {
      let keys = all.filter { $0.section == section && $0.status == .honored }
      if keys.isEmpty { continue }
      page += "## \(section.rawValue)\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
      for key in keys {
        page += row(["`\(key.name)`", key.expectation, "`\(key.defaultValue.text())`", key.meaning])
      }
      page += "\n"
    }
    page += defaultsText + stepsText
    page +=
      "## Accepted, but without effect\n\nThese cannot change the result. The run prints a note and continues.\n\n"
    page += groups(.withoutEffect)
    page +=
      "## Not supported\n\nThese are errors, unless the value turns the feature off.\n\n"
    page += groups(.refused)
    page += "## Other spellings\n\n| spelling | key | |\n|---|---|---|\n"
    for spelling in RecipeSpelling.all {
      let remark =
        switch spelling.kind {
        case .equal: "accepted"
        case .former: "accepted with a note: the former name"
        case .foreign: "an error that suggests the key"
        }
      page += row(["`\(spelling.name)`", "`\(spelling.key)`", remark])
    }
    return page
  }

  /// The keys of all methods; those of several methods once.
  private static var everyKey: [RecipeKey] {
    var known: Set<[String]> = []
    return TrainingMethod.Name.allCases.flatMap { all(for: $0) }.filter {
      known.insert([$0.name, $0.section.rawValue]).inserted
    }
  }

  /// Defaults that a method has instead of those in the tables.
  private static var defaultsText: String {
    var text =
      "## Defaults of the methods\n\nWhere they differ from the tables above.\n\n| method | defaults |\n|---|---|\n"
    for method in TrainingMethod.Name.allCases where method != .sft {
      let keys = commonKeys.filter { $0.name != "method" && $0.defaultValue(for: method) != $0.defaultValue }
      let values = keys.map { "`\($0.name): \($0.defaultValue(for: method).text())`" }
      text += row(["`\(method.rawValue)`", values.joined(separator: ", ")])
    }
    return text + "\n"
  }

  private static func row(_ cells: [String]) -> String {
    "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n"
  }

  /// Keys with the same reason share a row.
  private static func groups(_ status: Status) -> String {
    var reasons: [(meaning: String, names: [String])] = []
    for key in everyKey where key.status == status {
      if let place = reasons.firstIndex(where: { $0.meaning == key.meaning }) {
        reasons[place].names.append(key.name)
      } else {
        reasons.append((key.meaning, [key.name]))
      }
    }
    let rows = reasons.map { row([$0.names.map { "`\($0)`" }.joined(separator: ", "), $0.meaning]) }
    return "| keys | why |\n|---|---|\n" + rows.joined() + "\n"
  }

  private static let stepsText = """
    ## Steps

    `steps` is a list. A source in `datasets` can have its own, which are applied before the sources are combined.

    ```yaml
    steps:
      - filter: {column: lang, equals: yue}      # or {column: lang} to keep rows where it is not null
      - select: 1500                             # or {start: 100, count: 1500}
      - rename_columns: {sentence: prompt, translation: completion}
      - remove_columns: [translation_extra]      # or select_columns: [prompt, completion]
      - template: "Question: {Question}"         # fills `text`; or {to: prompt, text: "..."}
      - messages:                                # fills `messages`; or {to: prompt, messages: [...]}
          - {role: system, content: "You translate."}
          - {role: user, content: "{translation.zh}"}
      - apply_chat_template: text                # renders `messages` into `text`
      - shuffle: 3407                            # in the order of datasets' shuffle(seed=3407)
      - split: {test_size: 0.1, seed: 42}        # the test part becomes the validation set
    ```

    `{name}` is replaced with the value of a column, `{a.b}` with a member of one, and `{{` and `}}` with braces.

    ## Sources

    ```yaml
    datasets:
      - path: pairs.jsonl                        # a file, a folder or org/name
        fraction: 0.7                            # in all sources or in none
        steps: [{rename_columns: {zh: prompt, yue: completion}}]
      - path: org/name
        name: small                              # dataset_config: as README.md describes it, or a folder
        split: train[:5000]+validation
        columns: [prompt, completion]
        fraction: 0.2
      - path: json                               # or csv, parquet, text: the format of data_files
        data_files: {train: "more/*.jsonl", test: held.jsonl}
        fraction: 0.05
      - query: SELECT q AS prompt, a AS completion FROM 'answers.parquet' WHERE length(a) > 9
        fraction: 0.05
    ```

    Paths are relative to the working directory or, if nothing is there, to the recipe's folder. Fractions work as in TRL:
    the first rows of each source are used, as many as the proportions allow without repeating a row.


    """
}
