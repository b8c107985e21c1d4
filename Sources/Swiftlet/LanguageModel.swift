import Datasets
import Diagnostics
import Essentials
import Models
import Tensors

/// A language model with its tokenizer and chat template: the starting point for chatting and fine-tuning.
///
/// The model computes on its own thread. It can be shared freely: several chats, and even a training run, take turns
/// on it.
public final class LanguageModel: Sendable {
  /// The name that the model was opened with.
  public let name: String
  /// How linear layers were quantized on loading, if they were.
  public let quantization: QuantizationConfiguration?
  /// The device that computes, and the reason for its choice.
  public let device: DeviceSelection.Choice
  let core: ModelCore

  /// Opens a model.
  /// - Parameters:
  ///   - name: a Hugging Face folder, a GGUF file, or `org/name` on the Hugging Face Hub, which is downloaded into the
  ///     shared cache unless it is there already.
  ///   - revision: the branch, tag or commit on the Hub; `nil` for its default branch.
  ///   - adapter: the folder of a LoRA adapter that Swiftlet or PEFT saved.
  ///   - quantization: how to quantize the linear layers on loading; `nil` to leave them as they are stored.
  ///   - chatTemplate: the source of a Jinja template that replaces the model's own.
  ///   - device: what to compute on; by default a GPU if it is faster than the CPU. Adapters and checkpoints are the
  ///     same files on every device.
  /// - Throws: `SwiftletError` naming the file at fault, or if a GPU is asked for that is missing or cannot be used.
  public init(
    _ name: String, revision: String? = nil, adapter: String? = nil, quantization: QuantizationConfiguration? = nil,
    chatTemplate: String? = nil, device: DeviceSelection = .automatic
  ) async throws {
    self.name = name
    self.quantization = quantization
    let url = try await ModelLocation.find(name, revision: revision)
    self.device = try device.open()
    core = ModelCore(url, quantization: quantization, on: self.device.backend)
    try await core.open(adapter: adapter.map { URL(fileURLWithPath: $0) }, chatTemplate: chatTemplate)
  }

  /// Answers one message. A model without a chat template continues the text instead.
  /// - Throws: `SwiftletError` if the text is empty or longer than the model's context.
  public func respond(
    to text: String, system: String? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int = 512
  ) async throws -> String {
    try await ChatSession(self, system: system, sampling: sampling, maxNewTokens: maxNewTokens).respond(to: text)
  }

  /// The loss on rows in any format that training accepts.
  /// - Throws: `SwiftletError` for rows that cannot be used.
  public func evaluate(
    on dataset: Dataset, options: PreparationOptions = PreparationOptions(), batchSize: Int = 8
  ) async throws -> Evaluation {
    try await core.withModel { try Evaluation($0, rows: dataset.resolve(), options: options, batchSize: batchSize) }
  }

  /// Saves the model as a Hugging Face folder with its tokenizer. An adapter is merged into the weights.
  /// - Parameters:
  ///   - folder: the folder to write.
  ///   - type: how the weights are stored; a float type.
  /// - Throws: `SwiftletError` if the folder cannot be written.
  public func save(to folder: String, type: ElementType = .bfloat16) async throws {
    let url = URL(fileURLWithPath: folder)
    try await core.withModel {
      try $0.write(to: url, type: type)
      try $0.writeTokenizer(to: url)
    }
  }

  /// Saves the model as a GGUF file for llama.cpp and Ollama. An adapter is merged into the weights.
  /// - Parameters:
  ///   - file: the file to write, ending in `.gguf`.
  ///   - type: how matrices are stored; `nil` to leave them as they are.
  /// - Throws: `SwiftletError` if the file cannot be written.
  public func saveGGUF(to file: String, type: GGUFType? = nil) async throws {
    let url = URL(fileURLWithPath: file)
    try await core.withModel {
      _ = try $0.writeGGUF(to: url, type: type, name: url.deletingPathExtension().lastPathComponent) { _, _ in }
    }
  }

  /// Runs `body` on the model's thread with the underlying `CausalLM`, for what this type does not offer.
  public func withModel<Value: Sendable>(
    _ body: @escaping @Sendable (CausalLM) throws -> Value
  ) async throws -> Value {
    try await core.withModel(body)
  }
}
