import Diagnostics
import ArgumentParser
import ChatTemplates
import Swiftlet
import Foundation
import Models
import OrderedJSON
import Terminal

/// `swiftlet chat --model M [--adapter A]`
struct Chat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Talk to a model; q quits, /new starts over, Ctrl-C ends an answer.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(help: "The system message.")
  var system: String?

  @Option(help: "Whether a model that can think first does so.")
  var thinking: Thinking?

  func run() async throws {
    let (model, _) = try await modelOptions.open()
    let output = Output.standardOutput
    Printing.note("Type a message; q quits, /new starts over, Ctrl-C ends an answer.")
    var conversation = CachedConversation(model: model, system: system, thinking: thinking?.isOn)
    while true {
      if output.isTerminal { output.write(output.style.bold("> ")) }
      guard let line = readLine(strippingNewline: true) else { break }
      let text = line.trimmingCharacters(in: .whitespaces)
      if text == "q" || text == "/q" || text == "/quit" { break }
      if text.isEmpty { continue }
      if text == "/new" {
        conversation = CachedConversation(model: model, system: system, thinking: thinking?.isOn)
        continue
      }
      do {
        let signal = try conversation.say(text, sampling: sampling) { piece in
          output.writeText(piece)
        }
        output.write("\n")
        // Ctrl-C ends an answer; the system's wish ends the talk.
        if let signal, signal != SIGINT { throw ExitCode(128 + signal) }
      } catch let error as SwiftletError where error.domain == .model {
        Printing.note(error.description)
      }
    }
  }
}

/// The turns of a talk, and the cache of what the model has read of it.
private struct CachedConversation {
  private let model: CausalLM
  private let thinking: Bool?
  private var messages: [Message] = []
  private var cache: KeyValueCache
  private var cached: [Int32] = []

  init(model: CausalLM, system: String?, thinking: Bool?) {
    self.model = model
    self.thinking = thinking
    cache = KeyValueCache(for: model.transformer)
    if let system { messages.append(.system(system)) }
  }

  /// Answers, and tells the signal that cut the answer short.
  mutating func say(_ text: String, sampling: SamplingFlags, stream: (String) -> Void) throws -> Int32? {
    let asked = messages + [.user(text)]
    let ids =
      model.chatTemplate == nil ? model.tokenizer.encode(text) : try model.prompt(asked, thinking: thinking)
    guard ids.count < model.transformer.configuration.maxPositions else {
      throw SwiftletError.model(
        "the talk is longer than the model's context; say it shorter, or type /new to start over")
    }
    messages = asked
    // A template may write earlier turns anew, so only what is truly the same is kept; at least one token must be read.
    let shared = min(zip(ids, cached).prefix { $0 == $1 }.count, ids.count - 1)
    cache.truncate(to: shared)
    let signals = StopSignals()
    defer { signals.end() }
    let (answer, generation) = model.generate(
      Array(ids[shared...]), cache: cache, sampling: sampling.options, maxNewTokens: sampling.maxNewTokens
    ) { piece in
      stream(piece)
      return signals.caught == nil
    }
    cached = Array((ids + generation.ids).prefix(cache.count))
    messages.append(.assistant(answer))
    return signals.caught
  }
}
