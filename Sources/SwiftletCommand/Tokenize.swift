import Checkpoints
import Diagnostics
import ArgumentParser
import Swiftlet
import Essentials
import Hub
import Models
import OrderedJSON
import Terminal
import Tokenizers

/// `swiftlet tokenize M [--text T | --file F | --decode IDS]`
struct Tokenize: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Convert text to token IDs, or token IDs to text.")

  @Argument(help: "A model folder, a GGUF file, or org/name.")
  var model: String

  @Option(help: "The text to tokenize.")
  var text: String?

  @Option(help: "A file with the text. (default: standard input)")
  var file: String?

  @Option(help: ArgumentHelp("Token IDs to decode, separated by commas or spaces.", valueName: "ids"))
  var decode: String?

  @Flag(inversion: .prefixedNo, help: "Add special tokens, such as BOS, where the tokenizer does.")
  var specialTokens = true

  @Flag(help: "Print JSON: {\"ids\", \"tokens\"}, or {\"text\"} with --decode.")
  var json = false

  func validate() throws {
    if [text, file, decode].compactMap({ $0 }).count > 1 {
      throw ValidationError("--text, --file and --decode cannot be combined")
    }
  }

  func run() async throws {
    let tokenizer = try await Self.tokenizer(model)
    if let decode {
      let words = decode.split { ", []\n\t".contains($0) }
      let ids = words.compactMap { Int32($0) }
      guard ids.count == words.count else { throw ValidationError("--decode takes integers, as in 1,2,3") }
      if let stray = ids.first(where: { tokenizer.token($0) == nil }) {
        throw ValidationError("--decode: the tokenizer of \(model) has no token \(stray)")
      }
      let text = tokenizer.decode(ids)
      if json { Printing.json(["text": .string(text)]) } else { Printing.result(text) }
      return
    }
    let ids = tokenizer.encode(try input(), addSpecialTokens: specialTokens)
    let tokens = ids.map { tokenizer.token($0) ?? "" }
    if json {
      Printing.json([
        "ids": .array(ids.map { .integer(Int($0)) }), "tokens": .array(tokens.map { .string($0) }),
      ])
    } else {
      for (id, token) in zip(ids, tokens) { Printing.result("\(id)\t\(token.printable)") }
    }
  }

  /// The tokenizer alone, without the model's weights.
  static func tokenizer(_ name: String) async throws -> Tokenizer {
    let url = try await DownloadProgress.show {
      try await ModelLocation.find(
        name, files: .modelDescription, progress: $0)
    }
    return FileManager.default.isFolder(url.path)
      ? try Tokenizer(directory: url) : try ModelFiles(opening: url).tokenizer()
  }

  private func input() throws -> String {
    if let text { return text }
    guard let file = file?.expandingTilde else {
      return String(decoding: try OpenFile.standardInput.readToEnd(), as: UTF8.self)
    }
    return String(
      decoding: try RegularFile.contents(of: URL(fileURLWithPath: file), domain: .model), as: UTF8.self)
  }
}
