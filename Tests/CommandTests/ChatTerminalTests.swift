import Foundation
import OrderedJSON
import Testing

/// Chats in a pseudo-terminal.
@Suite(.serialized) struct ChatTerminalTests {
  /// A chat with the tiny model, and the terminal's other end.
  private final class Terminal {
    let process = Process()
    private let master: Int32

    init(in workspace: Workspace) throws {
      var (master, slave): (Int32, Int32) = (-1, -1)
      try #require(openpty(&master, &slave, nil, nil, nil) == 0)
      self.master = master
      let handle = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
      process.executableURL = Command.executable
      process.arguments = ["chat", "--model", "m", "--max-new-tokens", "3"]
      process.currentDirectoryURL = workspace.url
      process.environment = ProcessInfo.processInfo.environment.merging(["TERM": "xterm"]) { $1 }
      process.standardInput = handle
      process.standardOutput = handle
      process.standardError = handle
      try process.run()
    }

    deinit {
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
      close(master)
    }

    func type(_ text: String) {
      let bytes = Array(text.utf8)
      _ = write(master, bytes, bytes.count)
    }

    /// Reads what the chat shows until the next prompt.
    func readToPrompt() throws -> String {
      var shown: [UInt8] = []
      let deadline = ContinuousClock.now + .seconds(60)
      var buffer = [UInt8](repeating: 0, count: 4096)
      while ContinuousClock.now < deadline {
        var entry = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 100) > 0 else { continue }
        let count = read(master, &buffer, buffer.count)
        if count <= 0 { break }
        shown += buffer.prefix(count)
        let text = String(decoding: shown, as: UTF8.self)
        if text.contains("\u{1B}[?2004h"), text.hasSuffix("\u{1B}[2C") { return text }
      }
      Issue.record("no prompt after \(String(decoding: shown, as: UTF8.self))")
      return ""
    }

    /// The exit status.
    func wait() async throws -> Int32 {
      let deadline = ContinuousClock.now + .seconds(20)
      while process.isRunning {
        try #require(ContinuousClock.now < deadline, "the chat did not end")
        try await Task.sleep(for: .milliseconds(10))
      }
      return process.terminationStatus
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: [SIGINT, SIGTERM, SIGHUP])
  func signalsEndAChatAfterThreeAnswers(_ number: Int32) async throws {
    let workspace = try Workspace()
    let terminal = try Terminal(in: workspace)
    _ = try terminal.readToPrompt()
    for _ in 1...3 {
      terminal.type("你好\r")
      _ = try terminal.readToPrompt()
    }
    kill(terminal.process.processIdentifier, number)
    #expect(try await terminal.wait() == 128 + number)
  }

  @Test(.timeLimit(.minutes(2))) func linesAreEditedAndCommandsAreNotSent() async throws {
    let workspace = try Workspace()
    let terminal = try Terminal(in: workspace)
    _ = try terminal.readToPrompt()
    // Backspace removes a whole character; the arrow moves over one.
    terminal.type("/unknown\r")
    #expect(try terminal.readToPrompt().contains("There is no command /unknown"))
    terminal.type("/system brief\r")
    _ = try terminal.readToPrompt()
    terminal.type("好你界\u{7F}\u{1B}[D\u{7F}\r")
    _ = try terminal.readToPrompt()
    terminal.type("\u{1B}[200~one\rtwo\u{1B}[201~\r")
    _ = try terminal.readToPrompt()
    terminal.type("/save chat.json\r")
    _ = try terminal.readToPrompt()
    terminal.type("Q\r")
    #expect(try await terminal.wait() == 0)
    let messages = try #require(try workspace.json("chat.json")["messages"]?.array)
    #expect(messages.compactMap { $0["role"]?.string } == ["system", "user", "assistant", "user", "assistant"])
    #expect(messages[1]["content"]?.string == "你")
    #expect(messages[3]["content"]?.string == "one\ntwo")
  }
}
