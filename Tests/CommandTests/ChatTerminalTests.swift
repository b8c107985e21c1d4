import Essentials
import Foundation
import OrderedJSON
import Synchronization
import TestSupport
import Testing

/// Chats in a pseudo-terminal.
@Suite(.serialized) struct ChatTerminalTests {
  private final class Flag: Sendable {
    let isSet = Atomic(false)
  }

  /// A chat with the tiny model, and the terminal's other end.
  private final class Terminal {
    private let process: ChildProcess
    private let end: Task<Int32, Never>
    private let hasEnded = Flag()
    private let master: Int32

    init(in workspace: Workspace) throws {
      var (master, slave): (Int32, Int32) = (-1, -1)
      var name = [CChar](repeating: 0, count: 256)
      try #require(openpty(&master, &slave, &name, nil, nil) == 0)
      // The chat opens the terminal by its name.
      defer { close(slave) }
      self.master = master
      let path = name.withUnsafeBufferPointer { String(decoding: $0.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self) }
      let process = try Program.start(
        Command.executable.path, ["chat", "--model", "m", "--max-new-tokens", "3"], input: path, output: path,
        errors: path, environment: ProcessInfo.processInfo.environment.merging(["TERM": "xterm"]) { $1 },
        in: workspace.url)
      self.process = process
      let hasEnded = hasEnded
      end = Task {
        let status = await Program.end(of: process).status
        hasEnded.isSet.store(true, ordering: .releasing)
        return status
      }
    }

    deinit {
      if !hasEnded.isSet.load(ordering: .acquiring) { signal(SIGKILL) }
      close(master)
    }

    func signal(_ number: Int32) { kill(process.number, number) }

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
    func wait() async -> Int32 { await end.value }
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
    terminal.signal(number)
    #expect(await terminal.wait() == 128 + number)
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
    #expect(await terminal.wait() == 0)
    let messages = try #require(try workspace.json("chat.json")["messages"]?.array)
    #expect(messages.compactMap { $0["role"]?.string } == ["system", "user", "assistant", "user", "assistant"])
    #expect(messages[1]["content"]?.string == "你")
    #expect(messages[3]["content"]?.string == "one\ntwo")
  }
}
