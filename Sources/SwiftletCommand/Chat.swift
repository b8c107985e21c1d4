import Diagnostics
import ArgumentParser
import ChatTemplates
import Swiftlet
import Essentials
import Models
import Terminal

/// `swiftlet chat --model M [--adapter A]`
struct Chat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Talk to a model; q quits, /new starts over, Ctrl-C ends an answer.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(help: "The system message.")
  var system: String?

  @Option(help: "Whether a model that can think first does so.")
  var thinking: Thinking?

  func run() async throws {
    let (model, _) = try await modelOptions.open(on: device)
    let output = Output.standardOutput
    Printing.note("Type a message; q quits, /new starts over, Ctrl-C ends an answer.")
    var conversation = CachedConversation(with: model, system: system, thinking: thinking?.isOn)
    while true {
      if output.isTerminal { output.write(output.style.bold("> ")) }
      guard let line = readLine(strippingNewline: true) else { break }
      let text = line.trimmed
      if text == "q" || text == "/q" || text == "/quit" { break }
      if text.isEmpty { continue }
      if text == "/new" {
        conversation = CachedConversation(with: model, system: system, thinking: thinking?.isOn)
        continue
      }
      do {
        let reply = try conversation.reply(to: text, sampling: sampling.options, maxNewTokens: sampling.maxNewTokens)
        let signal = stream(reply, to: output)
        output.write("\n")
        // Ctrl-C ends the answer, SIGTERM the chat.
        if let signal, signal != SIGINT { throw ExitCode(128 + signal) }
      } catch let error as SwiftletError where error.domain == .model {
        Printing.note("\(error). Type /new to start over.")
      }
    }
  }

  /// Writes an answer as it is generated.
  /// - Returns: the signal that ended it early.
  private func stream(_ reply: CachedConversation.Reply, to output: Output) -> Int32? {
    func write(_ piece: String) { output.writeText(piece) }
    let signals = StopSignals()
    defer { signals.end() }
    while signals.caught == nil, let piece = reply.next() { write(piece) }
    write(reply.finish())
    return signals.caught
  }
}
