import ArgumentParser
import FineTuning
import Foundation
import Hub
import Models
import Terminal

/// Which model a subcommand works on.
struct ModelOptions: ParsableArguments {
  @Option(name: [.short, .long], help: "A model folder, a GGUF file, or org/name.")
  var model: String

  @Option(name: [.short, .long], help: "An adapter folder, as PEFT or swiftlet wrote it.")
  var adapter: String?

  /// The model with the adapter on it, and the chat template that the adapter was trained with.
  func open() async throws -> (model: CausalLM, adapter: Adapter?) {
    try await Self.open(model: model, adapter: adapter)
  }

  /// The model `model`, with the adapter in the folder `adapter` on it where one is given.
  static func open(model: String, adapter: String?) async throws -> (model: CausalLM, adapter: Adapter?) {
    let url = try await ModelLocation.find(model, progress: DownloadProgress().report)
    let files = try ModelFiles(opening: url)
    let folder = adapter.map { URL(fileURLWithPath: $0) }
    let template = folder.flatMap {
      try? String(contentsOf: $0.appendingPathComponent("chat_template.jinja"), encoding: .utf8)
    }
    let opened = try CausalLM(files, tokenizer: files.tokenizer(), chatTemplate: template)
    return (opened, try folder.map { try Adapter(reading: $0, onto: opened.decoder) })
  }
}

/// How answers are drawn; transformers' names and, where `generate` is not told otherwise, greedy.
struct SamplingFlags: ParsableArguments {
  @Option(help: "The most new tokens.")
  var maxNewTokens = 512

  @Option(help: "Above 0, tokens are drawn; 0 takes the most likely one.")
  var temperature: Float = 0

  @Option(help: "Draw from the fewest tokens that together have this probability.")
  var topP: Float = 1

  @Option(help: "Draw from this many of the most likely tokens; 0 for all.")
  var topK = 0

  @Option(help: "Draw from tokens at least this likely, relative to the most likely one.")
  var minP: Float = 0

  @Option(help: "Above 1, tokens that have occurred become less likely.")
  var repetitionPenalty: Float = 1

  @Option(help: "The same seed draws the same answer.")
  var seed: UInt64 = 0

  func validate() throws {
    guard maxNewTokens > 0 else { throw ValidationError("--max-new-tokens must be positive") }
    guard temperature >= 0, temperature.isFinite else { throw ValidationError("--temperature must be 0 or more") }
    guard topP > 0, topP <= 1 else { throw ValidationError("--top-p must lie above 0 and be at most 1") }
    guard topK >= 0 else { throw ValidationError("--top-k must be 0 or more") }
    guard minP >= 0, minP <= 1 else { throw ValidationError("--min-p must lie from 0 to 1") }
    guard repetitionPenalty > 0, repetitionPenalty.isFinite else {
      throw ValidationError("--repetition-penalty must be above 0")
    }
  }

  var options: SamplingOptions {
    var options = SamplingOptions()
    options.temperature = temperature
    options.topP = topP
    options.topK = topK
    options.minP = minP
    options.repetitionPenalty = repetitionPenalty
    options.seed = seed
    return options
  }
}

/// `--thinking on|off` for templates that know `enable_thinking`.
enum Thinking: String, ExpressibleByArgument {
  case on, off

  var isOn: Bool { self == .on }
}

/// A bar for a download, drawn from whichever thread reports.
final class DownloadProgress: Sendable {
  private let bar = Guarded(ProgressBar("downloading", total: 1000))

  var report: @Sendable (HubProgress) -> Void {
    { [bar] progress in
      guard progress.totalSize > 0 else { return }
      let share = Double(progress.totalReceived) / Double(progress.totalSize)
      bar.change {
        $0.update(
          Int(share * 1000),
          figures: ["\(Figures.bytes(progress.totalReceived)) of \(Figures.bytes(progress.totalSize))"])
      }
    }
  }
}
