import ArgumentParser
import ChatTemplates
import Checkpoints
import Swiftlet
import Essentials
import Hub
import Models
import OrderedJSON
import Tensors
import Terminal

/// The model a subcommand works on.
struct ModelOptions: ParsableArguments {
  @Option(name: [.short, .long], help: "A model folder, a GGUF file, or org/name.")
  var model: String

  @Option(
    name: [.short, .long],
    help: "An adapter folder that Swiftlet, PEFT or mlx-lm saved, or a GGUF adapter for llama.cpp.")
  var adapter: String?

  @OptionGroup var quantization: QuantizationOptions

  /// The model with the adapter on it, and the chat template that the adapter was trained with.
  /// - Parameter device: what it computes on.
  func open(on device: DeviceOptions? = nil) async throws -> (model: CausalLM, adapter: Adapter?) {
    let backend = try device?.backend() ?? CPUBackend.shared
    return try await Self.open(model: model, adapter: adapter) {
      try quantization.load($0, chatTemplate: $1, on: backend)
    }
  }

  /// Opens a model as stored, and attaches the adapter in the folder `adapter`, if there is one.
  static func open(model: String, adapter: String?) async throws -> (model: CausalLM, adapter: Adapter?) {
    try await open(model: model, adapter: adapter) {
      try CausalLM($0, tokenizer: $0.tokenizer(), chatTemplate: $1)
    }
  }

  private static func open(
    model: String, adapter: String?, load: (_ files: ModelFiles, _ chatTemplate: String?) throws -> CausalLM
  ) async throws -> (model: CausalLM, adapter: Adapter?) {
    let url = try await DownloadProgress.show { try await ModelLocation.find(model, progress: $0) }
    let folder = adapter.map { URL(fileURLWithPath: $0.expandingTilde) }
    let files = try ModelFiles(opening: url).extended(by: folder)
    let template = try folder.flatMap { try ChatRenderer.templateSource(in: $0) }
    let opened = try load(files, template)
    let applied = try folder.map { try Adapter(reading: $0, onto: opened.transformer) }
    try folder.map { try opened.takeSpecialTokens(ofAdapter: $0) }
    return (opened, applied)
  }
}

/// How rows are passed through a model.
struct BatchOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Truncate rows to this many tokens; 0 to keep them whole. (default: 1024, or that of --config)", valueName: "n"))
  var maxLength: Int?

  @Option(help: ArgumentHelp("Rows per batch.", valueName: "n"))
  var batchSize = 8

  func validate() throws {
    guard batchSize > 0, maxLength ?? 0 >= 0 else {
      throw ValidationError("--batch-size must be positive, --max-length not negative")
    }
  }

  /// The most tokens of a row; `nil` for no limit.
  func limit(otherwise: Int?) -> Int? { maxLength.map { $0 == 0 ? nil : $0 } ?? otherwise }
}

/// What a subcommand computes on.
struct DeviceOptions: ParsableArguments {
  @Option(
    help:
      "auto (a GPU if it is faster than the CPU), cpu, gpu or gpu:N. `swiftlet devices` lists them.")
  var device = DeviceSelection.automatic

  /// Opens the selected device.
  /// - Throws: `SwiftletError` if a GPU is asked for that is missing or cannot be used.
  func backend() throws -> any Backend {
    let choice = try device.open()
    if device != .automatic || choice.backend is VulkanBackend { Printing.note("Computing on \(choice.text).") }
    return choice.backend
  }
}

extension DeviceSelection: ExpressibleByArgument {
  /// Reads `auto`, `cpu`, `gpu` or `gpu:N`.
  public init?(argument: String) { self.init(argument) }

  /// What the help shows as the default.
  public var defaultValueDescription: String { text }
}

/// Whether linear layers are quantized on loading, with the names of recipe keys.
struct QuantizationOptions: ParsableArguments {
  @Flag(
    name: .customLong("load-in-4bit"), help: "Quantize the linear layers to 4 bits on loading, as in QLoRA training.")
  var loadIn4Bit = false

  @Option(
    name: .customLong("bnb-4bit-quant-type"), help: ArgumentHelp("The 4-bit type. (default: nf4)", valueName: "type"))
  var quantType: FourBitCode?

  @Flag(
    name: [.customLong("bnb-4bit-use-double-quant"), .customLong("use-bnb-nested-quant")],
    help: "Quantize the block scales too (double quantization).")
  var doubleQuantized = false

  func validate() throws {
    if !loadIn4Bit, doubleQuantized || quantType != nil {
      throw ValidationError("--bnb-4bit-quant-type and --bnb-4bit-use-double-quant need --load-in-4bit")
    }
  }

  /// The requested quantization; `nil` to keep weights as stored.
  var configuration: QuantizationConfiguration? {
    loadIn4Bit
      ? QuantizationConfiguration(FourBitFormat((quantType ?? .nf4).type, doubleQuantized: doubleQuantized)) : nil
  }

  /// Loads a model, with a progress bar if it is quantized.
  func load(
    _ files: ModelFiles, chatTemplate: String? = nil, on backend: any Backend = CPUBackend.shared
  ) throws -> CausalLM {
    let bar = QuantizationProgress()
    defer { bar.finish() }
    return try CausalLM(
      files, tokenizer: files.tokenizer(), chatTemplate: chatTemplate, on: backend, quantization: configuration,
      progress: configuration == nil ? { _, _ in } : bar.report)
  }
}

/// The name of a 4-bit code.
enum FourBitCode: String, ExpressibleByArgument, CaseIterable {
  case nf4, fp4

  var type: ElementType { self == .nf4 ? .nf4 : .fp4 }
}

/// A progress bar for quantization on loading.
final class QuantizationProgress {
  private var bar: ProgressBar?

  func report(_ done: Int, _ total: Int) {
    if bar == nil { bar = ProgressBar("quantizing", total: total) }
    bar?.update(done)
  }

  func finish() { bar?.clear() }
}

/// Sampling options with transformers' names; greedy by default.
struct SamplingFlags: ParsableArguments {
  @Option(help: ArgumentHelp("The maximum number of tokens to generate.", valueName: "n"))
  var maxNewTokens = 512

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sampling temperature; 0 always takes the most likely token.", valueName: "x"))
  var temperature: Float = 0

  @Option(
    help: ArgumentHelp(
      "Sample from the most likely tokens that add up to this probability (nucleus sampling).", valueName: "p"))
  var topP: Float = 1

  @Option(help: ArgumentHelp("Sample from the k most likely tokens; 0 for all.", valueName: "k"))
  var topK = 0

  @Option(
    help: ArgumentHelp("Sample from tokens with at least this fraction of the highest probability.", valueName: "p"))
  var minP: Float = 0

  @Option(help: ArgumentHelp("Penalty for tokens that have already occurred; 1 for none.", valueName: "x"))
  var repetitionPenalty: Float = 1

  @Option(help: ArgumentHelp("Seed for sampling.", valueName: "n"))
  var seed: UInt64 = 0

  func validate() throws {
    guard maxNewTokens > 0 else { throw ValidationError("--max-new-tokens must be positive") }
    guard temperature >= 0, temperature.isFinite else { throw ValidationError("--temperature must be 0 or more") }
    guard topP > 0, topP <= 1 else { throw ValidationError("--top-p must be above 0 and at most 1") }
    guard topK >= 0 else { throw ValidationError("--top-k must be 0 or more") }
    guard minP >= 0, minP <= 1 else { throw ValidationError("--min-p must be between 0 and 1") }
    guard repetitionPenalty > 0, repetitionPenalty.isFinite else {
      throw ValidationError("--repetition-penalty must be above 0")
    }
  }

  var options: SamplingConfiguration {
    var options = SamplingConfiguration()
    options.temperature = temperature
    options.topP = topP
    options.topK = topK
    options.minP = minP
    options.repetitionPenalty = repetitionPenalty
    options.seed = seed
    return options
  }
}

/// `--thinking on|off`, for templates with `enable_thinking`.
enum Thinking: String, ExpressibleByArgument {
  case on, off

  var isOn: Bool { self == .on }
}

/// A progress bar for downloads. Any thread may report.
final class DownloadProgress: Sendable {
  private struct State {
    var bar = ProgressBar("downloading", total: 0, quantity: .bytes)
    var last: HubProgress?
  }

  private let state = Guarded(State())

  private init() {}

  /// Shows the progress that `body` reports. The bar has ended when this returns, so that what is printed next starts a
  /// line of its own.
  static func show<Result>(
    isolation: isolated (any Actor)? = #isolation,
    _ body: (_ report: @escaping @Sendable (HubProgress) -> Void) async throws -> Result
  ) async rethrows -> Result {
    let progress = DownloadProgress()
    defer { progress.end() }
    return try await body(progress.report)
  }

  private func report(_ progress: HubProgress) {
    guard progress.totalSize > 0 else { return }
    state.change { state in
      state.last = progress
      state.bar.update(progress.totalReceived, total: progress.totalSize)
    }
  }

  private func end() {
    state.change { state in
      guard let last = state.last else { return }
      if last.totalReceived < last.totalSize { state.bar.clear() } else { state.bar.finish() }
    }
  }
}
