import ArgumentParser
import Diagnostics
import Essentials
import Hub
import Swiftlet
import Synchronization
import Terminal

/// `swiftlet push FOLDER ORG/NAME`
struct Push: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Upload a model or an adapter to the Hugging Face Hub.",
    discussion: """
      Uploads the files directly in the folder as one commit; checkpoints and what a run wrote for the board stay behind. \
      The token is that of HF_TOKEN, or the one that `hf auth login` saved.
      """)

  @Argument(help: "A folder that sft, merge or PEFT has written.")
  var folder: String

  @Argument(help: "The repository, as org/name, or only name for one of yours. It is created if it doesn't exist.")
  var repository: String

  @Option(help: "The branch.")
  var revision = "main"

  @Flag(name: .customLong("private"), help: "Make a new repository private.")
  var isPrivate = false

  func validate() throws {
    do { _ = try RepositoryID(repository) } catch { throw ValidationError(error.description) }
  }

  func run() async throws {
    let url = URL(fileURLWithPath: folder.expandingTilde)
    guard FileManager.default.isFolder(url.path) else {
      throw SwiftletError.hub(folder, "there is no such folder")
    }
    try await Self.upload(url, to: repository, revision: revision, isPrivate: isPrivate)
  }

  /// Uploads behind a progress bar.
  static func upload(_ folder: URL, to repository: String, revision: String, isPrivate: Bool) async throws {
    let hub = try Hub(environment: ProcessInfo.processInfo.environment)
    let address = try await hub.upload(
      folder, to: repository, revision: revision, isPrivate: isPrivate, message: "Upload with swiftlet"
    ) { done, total in Printing.note("Uploaded \(Format.bytes(done)) of \(Format.bytes(total))") }
    Printing.note("Uploaded to \(address).")
  }
}
