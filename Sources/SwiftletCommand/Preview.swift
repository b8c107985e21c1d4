import ArgumentParser
import Datasets
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Tensors
import Terminal
import Tokenizers

/// `swiftlet preview --config recipe.yaml [--rows N]`
struct Preview: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "preview",
    abstract: "Show the first rows of a recipe, and which of their tokens are trained on.",
    usage: "swiftlet preview recipe.yaml [--rows N] [--ids] [--json] [--key value ...]",
    discussion: """
      --rows N  Show this many rows; 3 by default.
      --ids     Also show each row's input IDs and labels; -100 marks tokens that \
      are not trained on.
      --json    Print one JSON object.
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws {
    var words = RecipeWords(words)
    try words.answerHelp(for: self)
    let count = try words.take(number: "--rows") ?? 3
    let showsIDs = words.take(flag: "--ids")
    let json = words.take(flag: "--json")
    var recipe = try Recipe(commandLine: words.words)
    try recipe.checkComplete()
    recipe.data = try await DownloadProgress.show { try await DatasetLocation.find(recipe, progress: $0) }
    recipe = try await DownloadProgress.show { try await recipe.locatingTemplate(progress: $0) }
    let (tokenizer, rowTokenizer) = try await recipe.tokenizers(
      of: Tokenize.tokenizer(recipe.locate(recipe.model.name)))
    let rows = try RecipeRows(recipe, tokenizer: rowTokenizer).train
    if !json {
      let output = Output.standardOutput
      for line in try RowTable.summary(rows).wrapped(to: output.columns()) { Printing.result(line) }
      output.write(try RowTable.table(rows, count: count).text(width: output.columns(), style: output.style))
    }
    let first = SelectedRows(rows, Array(0..<min(count, rows.count)))
    var options = recipe.training.preparation(forValidation: false)
    if let labels = try recipe.training.method.labels(of: rows) { options.rowKind = .labeledText(labels) }
    let (set, report) = try Preparation(rowTokenizer, options: options).prepare(first)
    if json { return Printing.json(try self.report(rows, count, set, tokenizer)) }
    let output = Output.standardOutput
    for item in set.items {
      output.write("\n")
      var decoder = tokenizer.streamDecoder(skipSpecialTokens: false)
      for index in item.joined() {
        // A character of several tokens shows whole, with the token that completes it.
        show(decoder.append(set.ids[index]), isTrained: set.labels[index] != TokenBatch.ignoredLabel)
      }
      show(decoder.finish(), isTrained: false)
      output.write("\n")
      if showsIDs {
        Printing.result("input_ids \(set.ids(of: item))")
        Printing.result("labels    \(set.labels(of: item))")
      }
    }
    guard report.predictsTokens else { return DataReport.show(report) }
    let trained = output.style.isColored ? "green" : "in brackets"
    Printing.result("\n\(Format.percent(report.trainedShare)) of these tokens are trained on (\(trained)).")
    DataReport.show(report)
  }

  /// The rows, and the tokens and labels that are made of them.
  private func report(
    _ rows: any RowSource, _ count: Int, _ set: TrainingSet, _ tokenizer: Tokenizer
  ) throws -> JSONValue {
    let examples = set.items.map { item -> JSONValue in
      let ids = set.ids(of: item)
      return [
        "text": .string(tokenizer.decode(ids)), "input_ids": .array(ids.map { .integer(Int($0)) }),
        "labels": .array(set.labels(of: item).map { .integer(Int($0)) }),
      ]
    }
    let first = try (0..<min(count, rows.count)).map { JSONValue.object(try rows.row(at: $0)) }
    return [
      "columns": .array(try rows.columnNames().map { .string($0) }), "rows": .array(first),
      "examples": .array(examples),
    ]
  }

  private func show(_ piece: String, isTrained: Bool) {
    if piece.isEmpty { return }
    let output = Output.standardOutput
    let text = piece.printable
    output.write(
      output.style.isColored
        ? (isTrained ? output.style.green(text) : output.style.dim(text)) : (isTrained ? "[\(text)]" : text))
  }
}

extension TrainingSet {
  fileprivate func ids(of item: [Range<Int>]) -> [Int32] { item.joined().map { ids[$0] } }
  fileprivate func labels(of item: [Range<Int>]) -> [Int32] { item.joined().map { labels[$0] } }
}
