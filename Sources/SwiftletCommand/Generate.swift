import ArgumentParser
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Terminal

/// `swiftlet generate --model M --prompt T`
struct Generate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Generate an answer to a single prompt.")

  @OptionGroup var modelOptions: ModelOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(
    name: [.short, .long], help: ArgumentHelp("The prompt, or - to read it from standard input.", valueName: "text"))
  var prompt: String

  @Option(help: ArgumentHelp("The system message.", valueName: "text"))
  var system: String?

  @Option(help: ArgumentHelp("Turn thinking on or off, for models that support it.", valueName: "on|off"))
  var thinking: Thinking?

  @Flag(help: "Continue the prompt as plain text, without the chat template.")
  var raw = false

  @Flag(help: "Print JSON: {\"text\", \"ids\", \"prompt_tokens\", \"finish_reason\"}.")
  var json = false

  func run() async throws {
    let (model, _) = try await modelOptions.open(on: device)
    var text = prompt
    if prompt == "-" {
      text = String(decoding: try OpenFile.standardInput.readToEnd(), as: UTF8.self)
    }
    let question = raw ? Prompt(continuing: text) : Prompt(text, system: system)
    let ids = try model.ids(of: question, thinking: thinking?.isOn)
    let output = Output.standardOutput
    let signals = json ? nil : StopSignals()
    var progress = PromptProgress()
    let (answer, generation) = model.generate(
      ids, sampling: sampling.options, maxNewTokens: sampling.maxNewTokens,
      stream: { piece in
        progress.end()
        if !json { output.writeText(piece) }
        return signals?.caught == nil
      },
      reading: {
        progress.update($0, of: $1)
        return signals?.caught == nil
      })
    progress.end()
    signals?.end()
    try model.transformer.backend.check()
    if json {
      Printing.json([
        "text": .string(answer), "ids": .array(generation.ids.map { .integer(Int($0)) }),
        "prompt_tokens": .integer(ids.count), "finish_reason": .string(generation.finishReason.rawValue),
      ])
    } else {
      output.write("\n")
    }
    if let signal = signals?.caught { throw ExitCode(128 + signal) }
  }
}
