import ArgumentParser
import Diagnostics
import Essentials
import Serving
import Swiftlet
import Tensors
import Terminal

/// `swiftlet serve --model M [--adapter NAME=PATH ...]`
struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve a model and its adapters to programs that use the OpenAI API.",
    discussion: """
      Programs use http://127.0.0.1:8080/v1 as their base URL. Each adapter is a separate model next to the base model.
      """)

  @Option(name: [.short, .long], help: "A model folder, a GGUF file, or org/name.")
  var model: String

  @Option(
    name: [.short, .long], parsing: .singleValue,
    help: "An adapter folder, as NAME=FOLDER or FOLDER; can be repeated.")
  var adapter: [String] = []

  @Option(help: "The name of the base model for clients. (default: the name of its folder or file)")
  var name: String?

  @OptionGroup var quantization: QuantizationOptions
  @OptionGroup var device: DeviceOptions

  @OptionGroup var server: ServerOptions

  @Option(
    parsing: .singleValue,
    help: "A web page's origin, such as http://localhost:3000, that may use the server from a browser; can be repeated."
  )
  var allowOrigin: [String] = []

  @Option(
    help: ArgumentHelp(
      "Let clients fine-tune the model with /v1/files and /v1/fine_tuning/jobs, and keep files and adapters here.",
      valueName: "folder"))
  var fineTuning: String?

  func run() async throws {
    var access = try server.access()
    access.allowedOrigins = allowOrigin
    let engine = GenerationEngine()
    let sources = try await self.sources()
    let backend = try device.backend()
    try await engine.open(sources, on: backend)
    let jobs = try fineTuning.map { try self.jobs(in: $0, base: sources[0], backend, engine) }
    await jobs?.begin()
    let api = APIServer(engine, access: access, jobs: jobs)
    let ids = await engine.ids
    try await server.serve({ await api.respond(to: $0) }) { address in
      Printing.note("Serving \(ids.joined(separator: ", ")) at \(address)/v1. Stop with Ctrl-C.")
    }
  }

  private func jobs(
    in folder: String, base: ModelSource, _ backend: any Backend, _ engine: GenerationEngine
  ) throws -> FineTuningJobs {
    let path = try ServerOptions.programPath()
    let folder = URL(fileURLWithPath: folder.expandingTilde).standardizedFileURL
    return try FineTuningJobs(folder, base: base, on: backend, engine: engine, program: RunProgram(path: path))
  }

  private func sources() async throws -> [ModelSource] {
    let url = try await DownloadProgress.show { try await ModelLocation.find(model, progress: $0) }
    let quantization = quantization.configuration
    var sources = [
      ModelSource(id: name ?? url.deletingPathExtension().lastPathComponent, url: url, quantization: quantization)
    ]
    for text in adapter {
      let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
      let folder = URL(fileURLWithPath: (parts.last ?? text).expandingTilde)
      sources.append(
        ModelSource(
          id: parts.count > 1 ? parts[0] : folder.lastPathComponent, url: url, adapter: folder,
          quantization: quantization))
    }
    guard Set(sources.map(\.id)).count == sources.count else {
      throw ValidationError("two models have the same name; name adapters as NAME=FOLDER")
    }
    return sources
  }
}
