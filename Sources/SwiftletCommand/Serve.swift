import ArgumentParser
import Diagnostics
import Essentials
import Serving
import Swiftlet
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

  @Option(help: "The address to listen on. Any but 127.0.0.1 and ::1 needs --api-key.")
  var host = "127.0.0.1"

  @Option(help: "The port to listen on; 0 for any free port.")
  var port = 8080

  @Option(help: "The key that clients must send. (default: $SWIFTLET_API_KEY, else none)")
  var apiKey: String?

  @Option(
    parsing: .singleValue,
    help: "A web page's origin, such as http://localhost:3000, that may use the server from a browser; can be repeated."
  )
  var allowOrigin: [String] = []

  func validate() throws {
    guard (0...65535).contains(port) else { throw ValidationError("--port must be from 0 to 65535") }
  }

  func run() async throws {
    var access = AccessRules()
    access.apiKey = apiKey ?? ProcessInfo.processInfo.environment["SWIFTLET_API_KEY"]
    access.allowedOrigins = allowOrigin
    access.isLoopback = ["127.0.0.1", "::1", "localhost"].contains(host)
    guard access.isLoopback || access.apiKey?.isEmpty == false else {
      throw ValidationError("others could use the server at \(host); protect it with --api-key")
    }
    let engine = GenerationEngine()
    try await engine.open(sources(), on: device.backend())
    let api = APIServer(engine, access: access)
    let server = HTTPServer { await api.respond(to: $0) }
    let ids = await engine.ids
    let (host, port) = (host, port)
    let serving = Task {
      try await server.run(host: host, port: port) { port in
        Printing.note("Serving \(ids.joined(separator: ", ")) at http://\(host):\(port)/v1. Stop with Ctrl-C.")
      }
    }
    let signals = StopSignals()
    defer { signals.end() }
    let watch = Task {
      while StopSignals.caught == nil { try await Task.sleep(for: .milliseconds(100)) }
      serving.cancel()
    }
    defer { watch.cancel() }
    do {
      try await serving.value
    } catch {
      throw SwiftletError.network("\(host):\(port)", "can't listen there: \(error); choose another --port")
    }
    if let signal = signals.caught { throw ExitCode(128 + signal) }
  }

  private func sources() async throws -> [ModelSource] {
    let url = try await ModelLocation.find(model, progress: DownloadProgress().report)
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
