import ArgumentParser
import ChatTemplates
import Checkpoints
import Diagnostics
import Essentials
import Models
import OrderedJSON
import Swiftlet
import Terminal

/// `swiftlet chat --model M [--adapter A]`
struct Chat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Chat with a model.",
    discussion: """
      Type a message and press Return. Ctrl-C stops an answer; /bye or Ctrl-D ends the chat. /help lists the \
      commands. To send several lines, paste them, or put \"\"\" before the first and after the last.
      """)

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(help: ArgumentHelp("The system message.", valueName: "text"))
  var system: String?

  @Option(help: ArgumentHelp("Turn thinking on or off, for models that support it.", valueName: "on|off"))
  var thinking: Thinking?

  func run() async throws {
    let (model, _) = try await modelOptions.open(on: device)
    var session = Session(model: model, system: system, thinking: thinking?.isOn, sampling: sampling)
    Printing.note("Type a message. /help lists the commands, /bye leaves, Ctrl-C stops an answer.")
    try session.run()
  }

  /// What a line asks for.
  enum Input: Hashable {
    case message(String)
    case command(String, argument: String)
    case leave
    case nothing

    init(_ line: String) {
      let text = line.trimmed
      if text.isEmpty {
        self = .nothing
      } else if ["q", "quit", "exit", "/q", "/quit", "/exit", "/bye"].contains(text.lowercased()) {
        self = .leave
      } else if text.hasPrefix("//") {
        self = .message(String(text.dropFirst()))
      } else if text.hasPrefix("/") {
        let parts = text.dropFirst().split(maxSplits: 1, whereSeparator: \.isWhitespace)
        self = .command(parts.first.map { $0.lowercased() } ?? "", argument: parts.count > 1 ? parts[1].trimmed : "")
      } else {
        self = .message(text)
      }
    }
  }
}

/// The loop of a chat.
private struct Session {
  let model: CausalLM
  var system: String?
  let thinking: Bool?
  let sampling: SamplingFlags
  private var conversation: CachedConversation
  private var showsSpeed = false
  private var editor = LineEditor()
  private let output = Output.standardOutput

  init(model: CausalLM, system: String?, thinking: Bool?, sampling: SamplingFlags) {
    self.model = model
    self.system = system
    self.thinking = thinking
    self.sampling = sampling
    conversation = CachedConversation(with: model, system: system, thinking: thinking)
  }

  private static let help = """
    /system TEXT  set the system message and start over; without TEXT, show it
    /new          start over (also /clear)
    /save FILE    save the conversation as JSON
    /speed        turn the display of tokens per second on or off
    /bye          leave (also q, quit, exit, Ctrl-D)
    //TEXT        send a message that starts with a slash
    """

  mutating func run() throws {
    while let line = try nextLine() {
      switch Chat.Input(line) {
      case .nothing: continue
      case .leave: return
      case .command(let name, let argument): carryOut(name, argument)
      case .message(let text): try answer(text)
      }
    }
  }

  /// The next message or command, which may have several lines between `"""`; `nil` at the end of the input.
  private mutating func nextLine() throws -> String? {
    guard let first = try readLine("> ") else { return nil }
    guard first.hasPrefix("\"\"\"") else { return first }
    var text = String(first.dropFirst(3))
    while !text.hasSuffix("\"\"\"") {
      guard let next = try readLine("... ") else { return text }
      text += "\n" + next
    }
    return String(text.dropLast(3))
  }

  private mutating func readLine(_ prompt: String) throws -> String? {
    guard LineEditor.isSupported else {
      if output.isTerminal { output.write(output.style.bold(prompt)) }
      return Swift.readLine(strippingNewline: true)
    }
    let signals = StopSignals()
    defer { signals.end() }
    switch editor.read(prompt: prompt, isStopped: { signals.caught != nil }) {
    case .line(let line): return line
    case .end: return nil
    case .interrupted: throw ExitCode(128 + (signals.caught ?? SIGINT))
    }
  }

  private mutating func carryOut(_ name: String, _ argument: String) {
    switch name {
    case "help", "?": Printing.note(Self.help)
    case "clear", "new":
      startOver()
      Printing.note("Started over.")
    case "system":
      if argument.isEmpty {
        Printing.note(system.map { "The system message is: \($0)" } ?? "There is no system message.")
      } else {
        system = argument
        startOver()
        Printing.note("Set the system message and started over.")
      }
    case "save": save(to: argument)
    case "speed":
      showsSpeed.toggle()
      Printing.note(showsSpeed ? "Showing tokens per second." : "No longer showing tokens per second.")
    default:
      Printing.note("There is no command /\(name). /help lists the commands. To send it as a message, type //\(name).")
    }
  }

  private mutating func startOver() {
    conversation = CachedConversation(with: model, system: system, thinking: thinking)
  }

  private func save(to path: String) {
    guard !path.isEmpty else { return Printing.note("Name a file, as in /save chat.json.") }
    let file = URL(fileURLWithPath: path.expandingTilde)
    guard !FileManager.default.fileExists(atPath: file.path) else {
      return Printing.note("\(path) already exists; choose another name.")
    }
    let json: JSONValue = ["messages": .array(conversation.messages.map(\.json))]
    do {
      try AtomicFile.write(json.text(.pretty) + "\n", to: file)
      Printing.note("Saved the conversation to \(path).")
    } catch {
      Printing.note("\(error)")
    }
  }

  /// Streams an answer. Ctrl-C ends the answer; other signals end the chat.
  private func answer(_ text: String) throws {
    let signals = StopSignals()
    defer { signals.end() }
    do {
      let begin = ContinuousClock.now
      let reply = try conversation.reply(to: text, sampling: sampling.options, maxNewTokens: sampling.maxNewTokens)
      var count = 0
      var progress = PromptProgress()
      func next() -> String? {
        reply.next { read, total in
          progress.update(read, of: total)
          return signals.caught == nil
        }
      }
      while signals.caught == nil, let piece = next() {
        progress.end()
        output.writeText(piece)
        count += 1
      }
      progress.end()
      output.writeText(reply.finish())
      output.write("\n")
      try model.transformer.backend.check()
      let seconds = (ContinuousClock.now - begin) / .seconds(1)
      if showsSpeed {
        Printing.note(
          "\(count) tokens in \(Format.duration(seconds)), "
            + String(cFormat: "%.1f tokens/s", Double(count) / max(seconds, 1e-9)))
      }
    } catch let error as SwiftletError where error.domain == .model {
      Printing.note("\(error). Type /new to start over.")
    }
    if let signal = signals.caught, signal != SIGINT { throw ExitCode(128 + signal) }
  }
}
