import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Terminal

/// The `README.md` of an output folder: what was trained on what, how well it went, how to use it, and the recipe.
public struct ModelCard: Sendable {
  /// The recipe of the run.
  public var recipe: Recipe
  /// What the run logged.
  public var state: TrainerState
  /// What else is known of it.
  public var facts: Facts

  /// What neither the recipe nor the log says.
  public struct Facts: Sendable {
    /// Rows trained on.
    public var trainRows: Int?
    /// Rows held out.
    public var evalRows: Int?
    /// Parameters that training changed.
    public var trainableParameters: Int?
    /// All parameters, adapters included.
    public var totalParameters: Int?
    /// Answers before and after training.
    public var answers: [Answer] = []
    /// Whether the folder holds `loss_curve.png`.
    public var hasLossCurve = true

    /// Nothing known.
    public init() {}
  }

  /// An answer before and after training.
  public struct Answer: Sendable, Hashable {
    /// What was asked.
    public var question: String
    /// What the base model answered.
    public var before: String
    /// What the trained model answers.
    public var after: String

    /// An answer.
    public init(question: String, before: String, after: String) {
      self.question = question
      self.before = before
      self.after = after
    }
  }

  /// A card.
  public init(recipe: Recipe, state: TrainerState, facts: Facts = Facts()) {
    self.recipe = recipe
    self.state = state
    self.facts = facts
  }

  /// Writes `README.md` into `folder` in one piece.
  /// - Throws: `SwiftletError` where it cannot be written.
  public func write(to folder: URL) throws(SwiftletError) {
    try AtomicFile.write(text, to: folder.appendingPathComponent("README.md"))
  }

  /// The card in Markdown, with the YAML head that model hubs read.
  public var text: String {
    [head, introduction, results, answers, use, data, recipeText].filter { !$0.isEmpty }.joined(separator: "\n")
  }

  private var base: String { recipe.model.modelNameOrPath }

  private var title: String {
    let name = recipe.training.runName ?? URL(fileURLWithPath: recipe.training.outputDir).lastPathComponent
    return name.printable.replacing("\n", with: " ")
  }

  /// A hub knows a base model only by `org/name`.
  private static func isHubName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2 && !name.hasPrefix(".") && !name.hasPrefix("~") && parts.allSatisfy { !$0.isEmpty }
      && !FileManager.default.fileExists(atPath: name)
  }

  private var head: String {
    var lines = ["---"]
    if Self.isHubName(base) { lines.append("base_model: \(JSONValue.string(base).text())") }
    let sources = recipe.data.trainSources.map(\.path).filter(Self.isHubName)
    if !sources.isEmpty { lines.append("datasets: \(JSONValue.array(sources.map { .string($0) }).text())") }
    lines.append("library_name: \(recipe.lora == nil ? "transformers" : "peft")")
    lines.append("pipeline_tag: text-generation")
    lines.append("tags: [\(recipe.lora == nil ? "sft" : "sft, lora"), swiftlet]")
    lines.append("model_name: \(JSONValue.string(title).text())")
    return (lines + ["---", ""]).joined(separator: "\n")
  }

  private var introduction: String {
    let what =
      if let lora = recipe.lora {
        "A LoRA adapter of rank \(lora.rank) for `\(base)`\(recipe.model.loadIn4Bit ? ", trained over 4-bit weights" : "")"
      } else {
        "All weights of `\(base)`, trained further"
      }
    return "# \(title)\n\n\(what) with Swiftlet.\n"
  }

  private var results: String {
    var table = Table([.init("figure"), .init("value", isNumeric: true)])
    let training = state.logHistory.filter { $0["loss"] != nil }
    func add(_ name: String, _ value: String?) { if let value { table.append([name, value]) } }
    add("loss, first logged", training.first?["loss"]?.double.map(Format.loss))
    add("loss, last logged", training.last?["loss"]?.double.map(Format.loss))
    let held = state.logHistory.compactMap { $0["eval_loss"]?.double }
    add("loss on held-out rows, first", held.count > 1 ? held.first.map(Format.loss) : nil)
    add("loss on held-out rows, last", held.last.map(Format.loss))
    add("perplexity on held-out rows", held.last.map { Format.loss(exp($0)) })
    add("optimizer steps", "\(state.globalStep)")
    add("epochs", Format.loss(state.epoch))
    add("tokens", training.last?["num_tokens"]?.integer.map(Format.count))
    add("time", training.last?["elapsed_s"]?.double.map(Format.duration))
    if let trainable = facts.trainableParameters, let total = facts.totalParameters, total > 0 {
      let share = Format.percent(Double(trainable) / Double(total))
      add("trained parameters", "\(Format.count(trainable)) of \(Format.count(total)) (\(share))")
    }
    let picture = facts.hasLossCurve && !training.isEmpty ? "\n![The loss over the run](loss_curve.png)\n" : ""
    return "## Result\n\n\(table.markdown)\(picture)"
  }

  private var answers: String {
    if facts.answers.isEmpty { return "" }
    let table = Table.comparison(facts.answers.map { ($0.question, $0.before, $0.after) })
    return "## Before and after\n\n\(table.markdown)"
  }

  private var use: String {
    recipe.lora == nil ? useOfModel : useOfAdapter
  }

  /// The folder as commands name it: from inside, if the base is on the hub; else from where the run was, as the base is.
  private var adapterPlace: String { Self.isHubName(base) ? "." : Shell.quoted(recipe.training.outputDir) }

  /// The base as commands name it.
  private var basePlace: String { Shell.quoted(base) }

  /// A base that was quantized on loading has to be quantized again.
  private var quantizationOptions: String {
    guard recipe.model.loadIn4Bit, let format = recipe.model.quantization?.format else { return "" }
    return " --load-in-4bit --bnb-4bit-quant-type \(format.type.rawValue)"
      + (format.doubleQuantized ? " --bnb-4bit-use-double-quant" : "")
  }

  private var useOfAdapter: String {
    """
    ## Use

    With Swiftlet\(adapterPlace == "." ? "" : ", from the folder where it was trained"):

    ```
    swiftlet chat --model \(basePlace)\(quantizationOptions) --adapter \(adapterPlace)
    ```

    With PEFT:

    ```python
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    model = AutoPeftModelForCausalLM.from_pretrained(".")
    tokenizer = AutoTokenizer.from_pretrained(".")
    ```

    With llama.cpp, beside the base model as GGUF:

    ```
    swiftlet export --adapter \(adapterPlace) --base \(basePlace) --output adapter.gguf
    llama-cli -m base.gguf --lora adapter.gguf
    ```

    Or merged into one model that needs no adapter:

    ```
    swiftlet merge --model \(basePlace) --adapter \(adapterPlace) --output merged
    ```

    """
  }

  private var useOfModel: String {
    """
    ## Use

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

  private var data: String {
    var lines = recipe.data.trainSources.map { source in
      "- `\(source.query ?? source.path)`, split \(source.split)"
        + (source.fraction.map { ", share \($0.pythonText)" } ?? "")
    }
    if let rows = facts.trainRows { lines.append("- \(rows) rows trained on") }
    if let rows = facts.evalRows, rows > 0 { lines.append("- \(rows) rows held out") }
    return lines.isEmpty ? "" : "## Data\n\n" + lines.joined(separator: "\n") + "\n"
  }

  private var recipeText: String {
    let yaml = recipe.yaml
    let fence = yaml.contains("```") ? "``````" : "```"
    return
      "## Recipe\n\nAll settings, defaults included, are in `training_args.json`.\n\n\(fence)yaml\n\(yaml)\(fence)\n"
  }
}
