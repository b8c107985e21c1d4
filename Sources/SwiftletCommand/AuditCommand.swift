import ArgumentParser
import Auditing
import Datasets
import Diagnostics
import Essentials
import OrderedJSON
import Reports
import Swiftlet
import Terminal
import Tokenizers

/// `swiftlet audit --config recipe.yaml`
struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Find rows that would teach the wrong thing, before training.",
    usage: """
      swiftlet audit recipe.yaml [--json] [--show N] [--write FILE [--drop KINDS]] [--key value ...]
      swiftlet audit recipe.yaml --model-loss | --adapter FOLDER
      """,
    discussion: """
      Finds duplicates, contradictions, rows that are also in the validation set, damaged rows, and rows unlike the \
      others. The model is not loaded unless you ask for its losses; if its tokenizer is available, rows beyond \
      max_length are found too.

      --model-loss    Also measure the loss of each answer.
      --adapter A     The same, before and after training the adapter A.
      --loss-rows N   Measure at most N rows; 1000 by default.
      --show N        Show N findings of each kind; 5 by default.
      --similarity S  The least similarity of near duplicates; 0.7 by default.
      --write FILE    Write the remaining rows as JSON Lines.
      --drop KINDS    The kinds to drop, separated by commas, or all.
      --overwrite     Overwrite FILE.
      --json          Print JSON Lines: a summary, then an object for each finding.

      If the recipe names an output_dir, `swiftlet board` shows the findings too.

      Kinds: \(FindingKind.allCases.map(\.rawValue).joined(separator: ", ")).
      """)

  @Argument(parsing: .captureForPassthrough, help: "A recipe, and keys that override it.")
  var words: [String] = []

  func run() async throws {
    var words = RecipeWords(words)
    try words.answerHelp(for: self)
    let settings = try Settings(&words)
    var recipe = try Recipe(commandLine: words.words)
    for note in recipe.notes { Printing.note("Note: \(note)") }
    recipe.data = try await DownloadProgress.show { try await DatasetLocation.find(recipe, progress: $0) }
    recipe = try await DownloadProgress.show { try await recipe.locatingTemplate(progress: $0) }
    let tokenizers = try await tokenizer(of: recipe).map { try recipe.tokenizers(of: $0) }
    let rows = try RecipeRows(recipe, tokenizer: tokenizers?.rows)
    let kind = recipe.training.rowKind
    if settings.measuresLoss, kind != .sequence {
      throw ValidationError("--model-loss and --adapter measure the answers of sft; leave them out")
    }
    func audited(_ source: any RowSource) -> any RowSource {
      AuditedRows.of(source, kind, textField: recipe.training.preparation.textField)
    }
    let train = audited(rows.train)

    var options = Audit.Options()
    options.similarity = settings.similarity
    options.textField = recipe.training.preparation.textField
    options.expectsOneAnswer = AuditedRows.expectOneAnswer(kind)
    if let tokenizers {
      options.special = SpecialText(specialTokens: tokenizers.tokenizer.specialTokenTexts)
      options.preparation = (tokenizers.rows, recipe.training.preparation)
    }
    var bar = ProgressBar("auditing", total: train.count, quantity: .items("rows"))
    var audit = try Audit(train, validation: rows.evaluation.map(audited), options: options) { done, total in
      bar.update(done, total: total)
    }
    bar.clear()
    if settings.measuresLoss {
      try recipe.checkComplete()
      let losses = LossAuditing(recipe, rows, adapter: settings.adapter, most: settings.lossRows)
      audit.add(try await losses.findings(), of: train, options: options)
    }
    let lines = AuditLines(audit, of: train, textField: options.textField)
    if settings.json {
      lines.forEach { Printing.json($0) }
    } else {
      AuditReport(audit, train, shown: settings.shown).show()
    }
    try writeForBoard(lines, recipe)
    if let file = settings.file { try write(rows.train, audit, to: file, settings) }
  }

  /// The tokenizer of the recipe's model, if it is available.
  private func tokenizer(of recipe: Recipe) async -> Tokenizer? {
    if recipe.model.name.isEmpty { return nil }
    do {
      return try await Tokenize.tokenizer(recipe.locate(recipe.model.name))
    } catch {
      Printing.note("Note: rows beyond max_length are not looked for, because there is no tokenizer: \(error)")
      return nil
    }
  }

  /// Writes the findings to where the board looks for them, if the recipe names a folder.
  private func writeForBoard(_ lines: AuditLines, _ recipe: Recipe) throws {
    guard recipe.origins["output_dir"] != nil else { return }
    let folder = URL(fileURLWithPath: recipe.training.outputDir)
    try lines.write(
      to: folder.appendingPathComponent(RunJournal.Name.folder).appendingPathComponent(RunJournal.Name.audit))
    let watched = folder.standardizedFileURL.deletingLastPathComponent().path
    Printing.note("The board shows these findings: swiftlet board \(Shell.quoted(watched))")
  }

  private func write(_ rows: any RowSource, _ audit: Audit, to file: String, _ settings: Settings) throws {
    let kinds = try settings.kinds ?? AuditReport.askForKinds(audit)
    guard let kinds else { return Printing.note("Nothing was written.") }
    let remaining = audit.remainingRows(dropping: kinds)
    try CleanRows.write(
      rows, remaining, to: URL(fileURLWithPath: file.expandingTilde), overwrites: settings.overwrites)
    Printing.note(
      "Wrote \(remaining.count) of \(audit.rowCount) rows to \(file), after the recipe's steps. To train on them, name "
        + "the file as dataset_name and leave out the steps.")
  }
}

extension AuditCommand {
  /// The options that are not recipe keys.
  struct Settings {
    let json: Bool
    let measuresLoss: Bool
    let adapter: String?
    let lossRows: Int
    let overwrites: Bool
    let shown: Int
    let similarity: Double
    let file: String?
    /// The kinds to drop; `nil` to ask.
    let kinds: Set<FindingKind>?

    init(_ words: inout RecipeWords) throws {
      json = words.take(flag: "--json")
      adapter = try words.take(text: "--adapter")
      let hasFlag = words.take(flag: "--model-loss")
      measuresLoss = hasFlag || adapter != nil
      lossRows = try words.take(number: "--loss-rows") ?? 1000
      overwrites = words.take(flag: "--overwrite")
      shown = try words.take(number: "--show") ?? 5
      let similarity = try words.take(text: "--similarity").map { Double($0) } ?? 0.7
      guard let similarity, similarity > 0, similarity <= 1 else {
        throw ValidationError("--similarity must be a number above 0 and at most 1")
      }
      self.similarity = similarity
      file = try words.take(text: "--write")
      kinds = try words.take(text: "--drop").map(Self.kinds)
      if file == nil, kinds != nil || overwrites { throw ValidationError("--drop and --overwrite need --write FILE") }
      if let file, !overwrites, FileManager.default.fileExists(atPath: file.expandingTilde) {
        throw ValidationError("--write \(file): the file exists; choose another name, or add --overwrite")
      }
      if file != nil, kinds == nil, !AuditReport.canAsk {
        throw ValidationError("--write needs --drop with the kinds to drop, because there is no terminal to ask on")
      }
    }

    /// The kinds that a list names.
    static func kinds(_ list: String) throws -> Set<FindingKind> {
      let names = list.split { ", ".contains($0) }.map { String($0).replacing("-", with: "_") }
      if names == ["all"] { return Set(FindingKind.allCases) }
      return Set(
        try names.map { name in
          guard let kind = FindingKind(rawValue: name) else {
            let known = FindingKind.allCases.map(\.rawValue)
            let hint = EditDistance.nearest(to: name, among: known).map { "did you mean \($0)?" }
            throw ValidationError(
              "--drop: there is no kind \(name.quotedExcerpt); "
                + (hint ?? "choose from \(known.joined(separator: ", "))"))
          }
          return kind
        })
    }
  }
}

extension Tokenizer {
  /// The texts of its special tokens.
  fileprivate var specialTokenTexts: [String] { specialTokens.ids.sorted().compactMap { token($0) } }
}
