import Datasets
import Essentials
import Models
import Swiftlet
import Terminal

/// Commands to use the result of a run, ready to paste.
struct NextCommands {
  /// The commands, each in one or more lines.
  let lines: [String]

  /// - Parameters:
  ///   - questions: those that the run asked.
  ///   - width: the maximum width of a line; longer commands continue on the next.
  init(_ recipe: Recipe, questions: [Prompt] = [], width: Int = .max) {
    let program = CommandLine.arguments.first ?? "swiftlet"
    let output = recipe.training.outputDir
    func line(_ name: String, _ options: (name: String, value: String?)...) -> String {
      let words = options.compactMap { option in
        // An empty value is that of a flag.
        option.value.map { $0.isEmpty ? "--\(option.name)" : "--\(option.name) \(Self.word($0))" }
      }
      return Self.joined(["\(Shell.quoted(program)) \(name)"] + words, width)
    }
    // A model that was trained with a system message expects it in a chat too.
    let systems = Set(questions.map(\.system))
    let system = systems.count == 1 ? systems.first.flatMap(\.self) : nil
    let scores = recipe.training.method.scoresSequences
    guard recipe.lora != nil else {
      if scores {
        lines = [line("score", ("model", output), ("text", "..."))]
        return
      }
      lines = [
        line("chat", ("model", output), ("system", system)),
        line("export", ("model", output), ("output", output + ".gguf")),
      ]
      return
    }
    let base: (String, String?) = ("model", Self.spelled(recipe.model.name, recipe))
    let adapter: (String, String?) = ("adapter", output)
    let format = recipe.model.quantization?.format
    let isQuantized: (String, String?) = ("load-in-4bit", format.map { _ in "" })
    let type: (String, String?) = ("bnb-4bit-quant-type", format?.type == .fp4 ? "fp4" : nil)
    let isNested: (String, String?) = ("bnb-4bit-use-double-quant", format?.doubleQuantized == true ? "" : nil)
    if scores {
      lines = [
        line("score", base, isQuantized, type, isNested, adapter, ("text", "...")),
        line("merge", base, adapter, ("output", output + "-merged")),
      ]
      return
    }
    var lines = [line("chat", base, isQuantized, type, isNested, adapter, ("system", system))]
    if let file = Self.questionFile(recipe) {
      lines.append(line("compare", base, isQuantized, type, isNested, adapter, ("questions", file)))
    }
    lines += [
      line("merge", base, adapter, ("output", output + "-merged")),
      line("export", base, adapter, ("output", output + ".gguf")),
    ]
    self.lines = lines
  }

  /// A file of questions for `compare`: the recipe's, or else its validation or training rows if they need no steps.
  private static func questionFile(_ recipe: Recipe) -> String? {
    switch recipe.data.questions {
    case .file(let path): return spelled(path, recipe)
    case .inline(let questions) where !questions.isEmpty: return recipe.training.outputDir + "/questions.json"
    case .inline: break
    }
    let paths = [recipe.data.evalDataset?.path, recipe.data.trainSources.first?.path].compactMap(\.self)
    let found = paths.first { path in
      let place = recipe.locate(path)
      guard FileManager.default.fileExists(atPath: place), !FileManager.default.isFolder(place),
        let rows = try? DataFile.open(place), rows.count > 0, let row = try? rows.row(at: 0)
      else { return false }
      return (try? Prompt(row: .object(row))) != nil
    }
    return found.map { spelled($0, recipe) }
  }

  /// A path as the recipe spells it, if the shell finds it that way; else without the working directory or `$HOME`.
  private static func spelled(_ path: String, _ recipe: Recipe) -> String {
    if path.hasPrefix("~/") { return path }
    let place = recipe.locate(path)
    let folder = FileManager.default.currentDirectoryPath + "/"
    if place.hasPrefix(folder) { return String(place.dropFirst(folder.count)) }
    return place.abbreviatingHome
  }

  /// A word for the shell, which expands a tilde at its start.
  private static func word(_ value: String) -> String {
    value.hasPrefix("~/") ? "~/" + Shell.quoted(String(value.dropFirst(2))) : Shell.quoted(value)
  }

  /// One line, or several that end in a backslash.
  private static func joined(_ parts: [String], _ width: Int) -> String {
    var lines = [parts[0]]
    for part in parts.dropFirst() {
      if lines[lines.count - 1].displayWidth + part.displayWidth + 3 > width {
        lines[lines.count - 1] += " \\"
        lines.append("    " + part)
      } else {
        lines[lines.count - 1] += " " + part
      }
    }
    return lines.joined(separator: "\n  ")
  }
}
