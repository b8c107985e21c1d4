import Diagnostics
import Checkpoints
import Essentials
import Models
import OrderedJSON
import Terminal
import Training

/// The `README.md` of an output folder: what was trained on which data, the results, how to use them, and the recipe.
public struct ModelCard: Sendable {
  /// The name of the result, used as the heading.
  public var title: String
  /// The base model as commands in the output folder name it; see `BaseModelReference`.
  public var baseModel: String
  /// The base model's name in sentences.
  public var baseName: String
  /// The rank of the LoRA adapter; `nil` if every weight was trained.
  public var adapterRank: Int?
  /// The number of embeddings of a base model that tokens were added to; `nil` if none were.
  public var vocabularySize: Int?
  /// The options of `swiftlet chat` that quantize the base model as in training; empty if it was not quantized.
  public var quantizationOptions: [String] = []
  /// The sources of the training rows.
  public var sources: [Source] = []
  /// The settings of the run, as a recipe in YAML; empty if there is no recipe.
  public var recipe = ""
  /// The final state of the run, with its log.
  public var state: TrainerState
  /// The validation loss of the base model; `nil` if it was not measured.
  public var lossBefore: Double?
  /// The number of training rows.
  public var trainRows: Int?
  /// The number of validation rows.
  public var validationRows: Int?
  /// The number of trained parameters.
  public var trainableParameters: Int?
  /// The number of all parameters, adapters included.
  public var totalParameters: Int?
  /// Answers before and after training.
  public var answers: [Answer] = []
  /// The method of training.
  public var method = "sft"
  /// The labels of a classifier, or the only one of a reward model; `nil` for a language model.
  public var labels: [String]?
  /// Whether the folder has a `loss_curve.png`.
  public var hasLossCurve = true

  /// A source of training rows.
  public struct Source: Sendable, Hashable {
    /// A path, `org/name`, or an SQL query.
    public var place: String
    /// The split, such as `train`.
    public var split: String
    /// The share of the rows that come from this source.
    public var share: Double?
    /// Whether `place` is an SQL query.
    public var isQuery: Bool

    /// Creates a source of rows.
    public init(_ place: String, split: String = "train", share: Double? = nil, isQuery: Bool = false) {
      self.place = place
      self.split = split
      self.share = share
      self.isQuery = isQuery
    }
  }

  /// An answer before and after training.
  public struct Answer: Sendable, Hashable {
    /// The text of the question.
    public var question: String
    /// The answer of the base model.
    public var before: String
    /// The answer of the trained model.
    public var after: String

    /// Creates a comparison of two answers to a question.
    public init(question: String, before: String, after: String) {
      self.question = question
      self.before = before
      self.after = after
    }
  }

  /// A card for the result of a run. Set the other members to say more about it.
  /// - Parameters:
  ///   - title: the heading.
  ///   - baseModel: `org/name`, a path relative to the output folder, or `BaseModelReference.placeholder`.
  ///   - baseName: the base model's name in sentences; by default the last component of `baseModel`, or `org/name`.
  ///   - adapterRank: the rank of the adapter; `nil` if every weight was trained.
  ///   - state: the final state of the run.
  public init(
    title: String, baseModel: String, baseName: String? = nil, adapterRank: Int? = nil, state: TrainerState
  ) {
    self.title = title
    self.baseModel = baseModel
    self.baseName =
      baseName
      ?? (BaseModelReference.isHubName(baseModel)
        ? baseModel : baseModel.split(separator: "/").last.map(String.init) ?? baseModel)
    self.adapterRank = adapterRank
    self.state = state
  }

  /// Writes `README.md` into `folder`, completely or not at all.
  /// - Throws: `SwiftletError` if it cannot be written.
  public func write(to folder: URL) throws(SwiftletError) {
    try AtomicFile.write(text, to: folder.appendingPathComponent("README.md"))
  }

  /// The card in Markdown, with the YAML front matter that model hubs read.
  public var text: String {
    [head, introduction, results, comparison, use, data, settings].filter { !$0.isEmpty }.joined(separator: "\n")
  }

  private var heading: String { title.printable.replacing("\n", with: " ") }

  /// Whether `name` is `org/name` on a hub, rather than a path that happens to exist.
  private static func isHubName(_ name: String) -> Bool {
    BaseModelReference.isHubName(name) && !FileManager.default.fileExists(atPath: name)
  }

  private var head: String {
    var lines = ["---"]
    if Self.isHubName(baseModel) { lines.append("base_model: \(JSONValue.string(baseModel).text())") }
    let sources = sources.filter { !$0.isQuery }.map(\.place).filter(Self.isHubName)
    if !sources.isEmpty { lines.append("datasets: \(JSONValue.array(sources.map { .string($0) }).text())") }
    lines.append("library_name: \(adapterRank == nil ? "transformers" : "peft")")
    lines.append("pipeline_tag: \(labels == nil ? "text-generation" : "text-classification")")
    lines.append("tags: [\(method)\(adapterRank == nil ? "" : ", lora"), swiftlet]")
    lines.append("model_name: \(JSONValue.string(heading).text())")
    return (lines + ["---", ""]).joined(separator: "\n")
  }

  private var introduction: String {
    let what = adapterRank.map { "A LoRA adapter of rank \($0) for" } ?? "A full fine-tune of"
    let how = quantizationOptions.isEmpty ? "" : " on 4-bit weights"
    return "# \(heading)\n\n\(what) `\(baseName)`, trained with Swiftlet\(how).\n"
  }

  private var results: String {
    var table = Table([.init("metric"), .init("value", isNumeric: true)])
    let training = state.logHistory.filter { $0["loss"] != nil }
    func add(_ name: String, _ value: String?) { if let value { table.append([name, value]) } }
    func logged(_ key: String) -> [Double] { state.logHistory.compactMap { $0[key]?.double } }
    // Where rewards are logged, the loss is always near 0.
    let hasRewards = !logged("reward").isEmpty
    let what = hasRewards ? "reward" : "loss"
    add("first logged \(what)", logged(what).first.map(Format.loss))
    add("last logged \(what)", logged(what).last.map(Format.loss))
    let validation = logged("eval_" + what)
    if let lossBefore, !hasRewards {
      add("validation loss before training", Format.loss(lossBefore))
    } else {
      add("first validation \(what)", validation.count > 1 ? validation.first.map(Format.loss) : nil)
    }
    add("last validation \(what)", validation.last.map(Format.loss))
    if !hasRewards, labels == nil { add("validation perplexity", validation.last.map { Format.loss(exp($0)) }) }
    add("validation accuracy", logged("eval_accuracy").last.map(Format.percent))
    add("optimizer steps", "\(state.globalStep)")
    add("epochs", Format.loss(state.epoch))
    add("tokens", training.last?["num_tokens"]?.integer.map(Format.count))
    add("time", training.last?["elapsed_s"]?.double.map(Format.duration))
    if let trainable = trainableParameters, let total = totalParameters, total > 0 {
      let share = Format.percent(Double(trainable) / Double(total))
      add("trained parameters", "\(Format.count(trainable)) of \(Format.count(total)) (\(share))")
    }
    let picture = hasLossCurve && !training.isEmpty ? "\n![Training \(what)](loss_curve.png)\n" : ""
    return "## Results\n\n\(table.markdown)\(picture)"
  }

  private var comparison: String {
    if answers.isEmpty { return "" }
    let table = Table.comparison(answers.map { ($0.question, $0.before, $0.after) })
    return "## Before and after\n\n\(table.markdown)"
  }

  private var use: String {
    if labels != nil { return useOfClassifier }
    return adapterRank == nil ? useOfModel : useOfAdapter
  }

  /// The base model in commands.
  private var basePlace: String { Shell.quoted(baseModel) }

  /// What to know before running the commands.
  private var remark: String {
    if baseModel == BaseModelReference.placeholder {
      "Replace `\(baseModel)` with the base model, `\(baseName)`: a folder, a GGUF file or `org/name`; for PEFT, a folder "
        + "or `org/name`. Run the commands in this folder.\n\n"
    } else {
      "Run the commands in this folder.\n\n"
    }
  }

  private var peft: String {
    if Self.isHubName(baseModel) {
      return """
        from peft import AutoPeftModelForCausalLM
        from transformers import AutoTokenizer

        model = AutoPeftModelForCausalLM.from_pretrained(".")
        tokenizer = AutoTokenizer.from_pretrained(".")
        """
    } else {
      // PEFT needs the model that a GGUF file was made from.
      let isGGUF = baseModel.lowercased().hasSuffix(".gguf")
      let source =
        isGGUF
        ? "\"\(BaseModelReference.placeholder)\")  # the folder or org/name of the original model"
        : JSONValue.string(baseModel).text() + ")"
      return """
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        base = AutoModelForCausalLM.from_pretrained(\(source)\(resizing)
        model = PeftModel.from_pretrained(base, ".")
        tokenizer = AutoTokenizer.from_pretrained(".")
        """
    }
  }

  /// The line of Python after the one that opens the base model.
  private var resizing: String { vocabularySize.map { "\nbase.resize_token_embeddings(\($0))" } ?? "" }

  /// llama.cpp's adapters have no place for the embeddings of added tokens.
  private var useInLlamaCpp: String {
    if vocabularySize != nil {
      return """
        With llama.cpp, merged into the base model:

        ```
        swiftlet export --model \(basePlace) --adapter . --output merged.gguf
        llama-cli -m merged.gguf
        ```
        """
    }
    return """
      With llama.cpp, together with the base model as GGUF:

      ```
      swiftlet export --adapter . --base \(basePlace) --output adapter.gguf
      llama-cli -m base.gguf --lora adapter.gguf
      ```
      """
  }

  private var useOfAdapter: String {
    """
    ## Use

    \(remark)With Swiftlet:

    ```
    swiftlet chat --model \(([basePlace] + quantizationOptions).joined(separator: " ")) --adapter .
    ```

    With PEFT:

    ```python
    \(peft)
    ```

    \(useInLlamaCpp)

    To merge it into the base model:

    ```
    swiftlet merge --model \(basePlace) --adapter . --output merged
    ```

    """
  }

  private var useOfModel: String {
    """
    ## Use

    Run the commands in this folder.

    With Swiftlet:

    ```
    swiftlet chat --model .
    ```

    With transformers:

    ```python
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(".")
    tokenizer = AutoTokenizer.from_pretrained(".")
    ```

    With llama.cpp:

    ```
    swiftlet export --model . --output model.gguf --type q8_0
    llama-cli -m model.gguf
    ```

    """
  }

  /// How to score a text with a classifier or reward model.
  private var useOfClassifier: String {
    let isAdapter = adapterRank != nil
    let place = ([basePlace] + quantizationOptions).joined(separator: " ")
    let model = isAdapter ? "--model \(place) --adapter ." : "--model ."
    let count = labels?.count ?? 0
    let original = baseModel.lowercased().hasSuffix(".gguf") ? BaseModelReference.placeholder : baseModel
    let imports = isAdapter ? "from peft import PeftModel\n" : ""
    let load =
      isAdapter
      ? """
      base = AutoModelForSequenceClassification.from_pretrained(\(JSONValue.string(original).text()), num_labels=\(count))\(resizing)
      model = PeftModel.from_pretrained(base, ".")
      tokenizer = AutoTokenizer.from_pretrained(".")
      model.config.pad_token_id = tokenizer.pad_token_id
      """
      : """
      model = AutoModelForSequenceClassification.from_pretrained(".")
      tokenizer = AutoTokenizer.from_pretrained(".")
      """
    return """
      ## Use

      \(isAdapter ? remark : "Run the commands in this folder.\n\n")With Swiftlet:

      ```
      swiftlet score \(model) --text "..."
      ```

      With \(isAdapter ? "PEFT" : "transformers"):

      ```python
      \(imports)from transformers import AutoModelForSequenceClassification, AutoTokenizer

      \(load)
      ```

      """
  }

  private var data: String {
    var lines = sources.map { source in
      "- `\(source.place)`, split \(source.split)"
        + (source.share.map { ", share \($0.pythonText)" } ?? "")
    }
    if let rows = trainRows { lines.append("- \(rows) training rows") }
    if let rows = validationRows, rows > 0 { lines.append("- \(rows) validation rows") }
    return lines.isEmpty ? "" : "## Data\n\n" + lines.joined(separator: "\n") + "\n"
  }

  private var settings: String {
    if recipe.isEmpty { return "" }
    let fence = recipe.contains("```") ? "``````" : "```"
    return
      "## Recipe\n\n`training_args.json` lists all settings, including defaults.\n\n\(fence)yaml\n\(recipe)\(fence)\n"
  }
}
