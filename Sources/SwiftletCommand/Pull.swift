import ArgumentParser
import Essentials
import Hub

/// `swiftlet pull ORG/NAME`
struct Pull: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Download a model or data set into the shared cache.")

  @Argument(help: "org/name on the hub; HF_ENDPOINT, HF_TOKEN and HF_HOME count as everywhere.")
  var name: String

  @Option(help: "Branch, tag or commit.")
  var revision: String?

  @Flag(help: "It is a data set, not a model.")
  var dataset = false

  @Option(help: "Which GGUF file of several: a part of its name.")
  var gguf: String?

  func validate() throws {
    do { _ = try RepositoryID(name) } catch { throw ValidationError(error.description) }
  }

  func run() async throws {
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let folder = try await hub.snapshot(
      of: RepositoryID(name), revision: revision, kind: dataset ? .dataset : .model,
      files: dataset ? .dataset : .model(gguf: gguf), progress: DownloadProgress().report)
    Printing.result(folder.path)
  }
}
