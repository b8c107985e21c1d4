import ArgumentParser
import Datasets
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Tensors
import Terminal

/// `swiftlet preview --config recipe.yaml [--rows N]`
struct Preview: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "preview",
    abstract: "The first rows of a recipe, and their tokens by whether they are trained on.",
    usage: "swiftlet preview --config recipe.yaml [--rows N] [--key value ...]")

  @Argument(parsing: .captureForPassthrough, help: "--config recipe.yaml, --rows N, and keys that override the recipe.")
  var words: [String] = []

  func run() async throws {
    if words.contains("--help") || words.contains("-h") { throw CleanExit.helpRequest(self) }
    var words = words
    var count = 3
    words = words.flatMap { $0.hasPrefix("--rows=") ? ["--rows", String($0.dropFirst(7))] : [$0] }
    if let index = words.firstIndex(of: "--rows") {
      guard index + 1 < words.count, let number = Int(words[index + 1]), number > 0 else {
        throw ValidationError("--rows takes a positive number")
      }
      count = number
      words.removeSubrange(index...index + 1)
    }
    var recipe = try Recipe(commandLine: words)
    try recipe.checkComplete()
    recipe.data = try await DatasetLocation.find(recipe, progress: DownloadProgress().report)
    let tokenizer = try await Tokenize.tokenizer(recipe.locate(recipe.model.name))
    let rowTokenizer = try RowTokenizer(tokenizer, template: recipe.chatTemplate(), recipe.training)
    let rows = try RecipeRows(recipe, tokenizer: rowTokenizer).train
    try showRows(rows, count)
    let first = SelectedRows(rows, Array(0..<min(count, rows.count)))
    let (set, report) = try Preparation(rowTokenizer, options: recipe.training.preparation).prepare(first)
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
    }
    let trained = output.style.isColored ? "green" : "in brackets"
    Printing.result("\n\(Format.percent(report.trainedShare)) of these tokens are trained on (\(trained)).")
    DataReport.show(report)
  }

  private func show(_ piece: String, isTrained: Bool) {
    if piece.isEmpty { return }
    let output = Output.standardOutput
    let text = piece.printable
    output.write(
      output.style.isColored
        ? (isTrained ? output.style.green(text) : output.style.dim(text)) : (isTrained ? "[\(text)]" : text))
  }

  private func showRows(_ rows: any RowSource, _ count: Int) throws {
    let names = try rows.columnNames()
    var table = Table(names.map { Table.Column($0) })
    for index in 0..<min(count, rows.count) {
      let row = try rows.row(at: index)
      table.append(names.map { name in row[name].map { $0.string ?? $0.text() } ?? "" })
    }
    let output = Output.standardOutput
    output.write(table.text(width: output.columns(), style: output.style))
  }
}
