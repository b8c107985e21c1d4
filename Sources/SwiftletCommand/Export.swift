import Checkpoints
import Diagnostics
import ArgumentParser
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Terminal

/// `swiftlet export --model M [--adapter A] --output F.gguf`
struct Export: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model or an adapter as a GGUF file for llama.cpp and Ollama.",
    usage: """
      swiftlet export --model <model> [--adapter <adapter>] --output <file> [<options>]
      swiftlet export --adapter <adapter> [--base <base>] --output <file> [<options>]
      """,
    discussion: """
      With --model, the file contains the model, with the adapter merged in if there is one, and an Ollama Modelfile is \
      written next to it. With --adapter alone, the file contains the LoRA adapter; this needs the config.json of the \
      base model, which adapter_config.json or --base names.
      """)

  @Option(name: [.short, .long], help: "A model folder, a GGUF file, or org/name.")
  var model: String?

  @Option(name: [.short, .long], help: "An adapter folder that Swiftlet or PEFT saved.")
  var adapter: String?

  @Option(help: "For an adapter alone: its base model. Only its config.json is read.")
  var base: String?

  @Option(name: [.short, .long], help: ArgumentHelp("The file to write, ending in .gguf.", valueName: "file"))
  var output: String

  @Option(help: "The type of the matrices: \(types). (default: as stored; f32 for an adapter alone)")
  var type: String?

  @Flag(inversion: .prefixedNo, help: "Write an Ollama Modelfile next to the model.")
  var modelfile = true

  @Flag(inversion: .prefixedNo, help: "Open the written model and compare it with the exported one on a few rows.")
  var verify = true

  @Flag(help: "Overwrite another model's Modelfile, or the exported model itself.")
  var overwrite = false

  @Flag(help: "Print JSON: {\"path\"}, and \"modelfile\" if one was written.")
  var json = false

  private static let types = GGUFType.allCases.map(\.rawValue).joined(separator: ", ")

  func validate() throws {
    if model == nil, adapter == nil { throw ValidationError("export needs --model, or --adapter for an adapter alone") }
    if model != nil, base != nil {
      throw ValidationError("--base is for an adapter alone; leave out --model or --base")
    }
    guard output.lowercased().hasSuffix(".gguf") else {
      throw ValidationError("--output \(output) must end in .gguf; to write a folder, use merge")
    }
    if let type, GGUFType(parsing: type) == nil {
      throw ValidationError("--type \(type) is not supported; choose one of \(Self.types)")
    }
  }

  private var file: URL { URL(fileURLWithPath: output.expandingTilde) }
  private var stored: GGUFType? { type.flatMap(GGUFType.init(parsing:)) }
  /// The model's name in the file.
  private var name: String { file.deletingPathExtension().lastPathComponent }

  func run() async throws {
    guard let model else { return try await exportAdapter() }
    try checkOverwriting(model)
    let (opened, attached) = try await ModelOptions.open(model: model, adapter: adapter)
    var bar = ProgressBar("exporting", total: 0, quantity: .bytes)
    let notes = try opened.writeGGUF(to: file, type: stored, name: name) { done, total in
      bar.update(done, total: total)
    }
    bar.finish()
    Printing.note("Saved the model to \(output).")
    for note in notes { Printing.remark("Note: \(note).", indent: 0) }
    let record = try WrittenModel.copyRecord(ofAdapter: adapter, to: file)
    if verify { try await WrittenModel.verify(file, against: record, opened, attached) }
    guard modelfile else { return printResult() }
    let place = modelfilePlace
    try OllamaModelfile(opened, file: file.lastPathComponent).write(to: place)
    Printing.note("For Ollama: ollama create \(Shell.quoted(name)) -f \(Shell.quoted(place.path))")
    printResult(modelfile: place.path)
  }

  private func printResult(modelfile: String? = nil) {
    guard json else { return }
    var object = JSONObject([("path", .string(output))])
    object["modelfile"] = modelfile.map { .string($0) }
    Printing.json(.object(object))
  }

  private var modelfilePlace: URL { file.deletingLastPathComponent().appendingPathComponent("Modelfile") }

  /// Refuses to overwrite the model that is exported, or the Modelfile of another one.
  private func checkOverwriting(_ model: String) throws {
    if overwrite { return }
    if OutputFolder.isSameFile(model, output) {
      throw SwiftletError.model("\(output) is the model itself; choose another --output, or add --overwrite")
    }
    guard modelfile, let data = try? RegularFile.contents(of: modelfilePlace) else { return }
    let lines = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
    let source = lines.first { $0.lowercased().hasPrefix("from ") }.map { $0.dropFirst(5).trimmed } ?? ""
    if source.split(separator: "/").last.map(String.init) != file.lastPathComponent {
      throw SwiftletError.model(
        "\(modelfilePlace.path) is the Modelfile of \(source.quotedExcerpt); choose another folder for --output, or add "
          + "--no-modelfile or --overwrite")
    }
  }

  private func exportAdapter() async throws {
    guard let adapter else { return }
    let folder = URL(fileURLWithPath: adapter.expandingTilde)
    let place = try base ?? LoRAExport.base(of: folder)
    let url: URL
    do {
      url = try await ModelLocation.description(of: place, progress: DownloadProgress().report)
    } catch  where base == nil {
      throw SwiftletError.model(
        "\(folder.path): adapter_config.json names the base model \(place), which is not available (\(error)); name it with --base"
      )
    }
    try LoRAExport.write(
      folder, base: ModelFiles(opening: url).configuration, to: file, type: stored ?? .f32, name: name)
    Printing.note("Saved the adapter to \(output). Use it with: llama-cli --model BASE.gguf --lora \(output)")
    printResult()
  }
}
