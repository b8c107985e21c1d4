import Diagnostics
import ArgumentParser
import Swiftlet
import Essentials
import Models
import Terminal

/// `swiftlet export --model M [--adapter A] --output F.gguf`
struct Export: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a model, or an adapter alone, as a GGUF file for llama.cpp and Ollama.",
    discussion: """
      With --model, an adapter is merged in, and an Ollama Modelfile is written beside the file. With --adapter alone, \
      the file holds the LoRA adapter; it needs the configuration of its base, which adapter_config.json names, or --base.
      """)

  @Option(name: [.short, .long], help: "A model folder, a GGUF file, or org/name.")
  var model: String?

  @Option(name: [.short, .long], help: "An adapter folder, as PEFT or swiftlet wrote it.")
  var adapter: String?

  @Option(help: "For an adapter alone: its base model, of which only the configuration is read.")
  var base: String?

  @Option(name: [.short, .long], help: "The file to write, ending in .gguf.")
  var output: String

  @Option(help: "What matrices become: \(types). As stored where not given; an adapter alone is f32.")
  var type: String?

  @Flag(inversion: .prefixedNo, help: "Write an Ollama Modelfile beside the model.")
  var modelfile = true

  private static let types = GGUFType.allCases.map(\.rawValue).joined(separator: ", ")

  func validate() throws {
    if model == nil, adapter == nil { throw ValidationError("give --model, or --adapter for an adapter alone") }
    if model != nil, base != nil {
      throw ValidationError("--base is for an adapter alone; leave out --model or --base")
    }
    guard output.lowercased().hasSuffix(".gguf") else {
      throw ValidationError("--output \(output) should end in .gguf; merge writes folders")
    }
    if let type, GGUFType(parsing: type) == nil {
      throw ValidationError("--type \(type) is not known; known are \(Self.types)")
    }
  }

  private var file: URL { URL(fileURLWithPath: output.expandingTilde) }
  private var stored: GGUFType? { type.flatMap(GGUFType.init(parsing:)) }
  /// What the file calls the model.
  private var name: String { file.deletingPathExtension().lastPathComponent }

  func run() async throws {
    guard let model else { return try await exportAdapter() }
    let (opened, adapter) = try await ModelOptions.open(model: model, adapter: adapter)
    defer { withExtendedLifetime(adapter) {} }
    var bar = ProgressBar("exporting", total: 0, quantity: .bytes)
    let notes = try opened.writeGGUF(to: file, type: stored, name: name) { done, total in
      bar.update(done, total: total)
    }
    bar.finish()
    Printing.note("The model is in \(output).")
    for note in notes { Printing.note("Note: \(note).") }
    guard modelfile else { return }
    let place = file.deletingLastPathComponent().appendingPathComponent("Modelfile")
    try OllamaModelfile(opened, file: file.lastPathComponent).write(to: place)
    Printing.note("For Ollama: ollama create \(name) -f \(place.path)")
  }

  private func exportAdapter() async throws {
    guard let adapter else { return }
    let folder = URL(fileURLWithPath: adapter.expandingTilde)
    let place = try base ?? LoRAExport.base(of: folder)
    let url: URL
    do {
      url = try await ModelLocation.find(place, progress: DownloadProgress().report)
    } catch  where base == nil {
      throw SwiftletError.model(
        "\(folder.path): its base, \(place), which adapter_config.json names, is not to be had (\(error)); give it by --base"
      )
    }
    try LoRAExport.write(
      folder, base: ModelFiles(opening: url).configuration, to: file, type: stored ?? .f32, name: name)
    Printing.note("The adapter is in \(output): llama-cli --model BASE.gguf --lora \(output)")
  }
}
