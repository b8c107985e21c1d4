import ArgumentParser
import Diagnostics
import Essentials
import Serving
import Terminal

/// `swiftlet board [FOLDER]`
struct Board: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Watch training runs in a browser, start and compare them, and chat with their models.",
    discussion: """
      Shows the runs in a folder and the folders below it, on a page at http://127.0.0.1:8080. Runs go on if the board \
      ends, and the board goes on if a run does.
      """)

  @Argument(help: "The folder with runs, data and models.")
  var folder = "."

  @OptionGroup var server: ServerOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: .hidden)
  var untilProcessEnds: Int32?

  func run() async throws {
    let root = URL(fileURLWithPath: folder.expandingTilde).standardizedFileURL.resolvingSymlinksInPath()
    guard FileManager.default.isFolder(root.path) else {
      throw ValidationError("there is no folder \(folder.printable)")
    }
    let path = try ServerOptions.programPath()
    let device = device
    let board = BoardServer(
      root, access: try server.access(), program: RunProgram(path: path),
      chat: BoardChat { try device.backend() })
    if let process = untilProcessEnds { Self.end(after: process) }
    try await server.serve({ await board.respond(to: $0) }) { address in
      Printing.note("The board of \(root.path) is at \(address). Stop with Ctrl-C; runs go on.")
    }
  }

  /// Ends this program after another, however that ends.
  private static func end(after process: pid_t) {
    Task {
      while kill(process, 0) == 0 || errno == EPERM { try await Task.sleep(for: .seconds(1)) }
      kill(getpid(), SIGTERM)
    }
  }
}
