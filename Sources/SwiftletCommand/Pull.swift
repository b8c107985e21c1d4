import ArgumentParser
import Essentials
import Hub
import OrderedJSON
import Swiftlet

/// `swiftlet pull ORG/NAME`
struct Pull: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Download a model or dataset into the shared cache, and print its path.")

  @Argument(
    help: "org/name on the Hugging Face Hub. HF_ENDPOINT, HF_TOKEN, HF_HOME and USE_MODELSCOPE_HUB work as usual.")
  var name: String

  @Option(help: "A branch, tag or commit.")
  var revision: String?

  @Flag(help: "Download a dataset, not a model.")
  var dataset = false

  @Option(help: ArgumentHelp("The GGUF file to download, or a part of its name, such as Q8_0.", valueName: "name"))
  var gguf: String?

  @Flag(help: "Print JSON: {\"path\"}.")
  var json = false

  func validate() throws {
    do { _ = try RepositoryID(name) } catch { throw ValidationError(error.description) }
  }

  func run() async throws {
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let folder = try await DownloadProgress.show {
      try await hub.snapshot(
        of: RepositoryID(name), revision: revision, kind: dataset ? .dataset : .model,
        files: dataset ? .dataset : .model(gguf: gguf), progress: $0)
    }
    var path = dataset ? folder.path : ModelLocation.file(in: folder).path
    if let gguf, let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path),
      let name = FileSelection.preferredGGUF(of: names.filter { $0.lowercased().contains(gguf.lowercased()) })
    {
      path = folder.appendingPathComponent(name).path
    }
    if json { Printing.json(["path": .string(path)]) } else { Printing.result(path) }
  }
}
