import ChatTemplates
import Diagnostics
import Essentials
import OrderedJSON
import Tensors
import Tokenizers

/// A causal language model: transformer, tokenizer, chat template and stop tokens.
///
/// Not `Sendable`: training, adapters and `endOfSequence` change it in place. To use it from concurrent code, let one
/// actor own it, and hand it over with `sending`:
///
/// ```swift
/// actor Engine {
///   private let model: CausalLM
///   init(_ model: sending CausalLM) { self.model = model }
/// }
/// ```
public final class CausalLM {
  /// The opened files, from which tensors that training didn't change are copied on saving.
  public let files: ModelFiles
  /// The weights, and the computation from token ids to hidden states and logits.
  public let transformer: Transformer
  /// The tokenizer that belongs to the weights; its vocabulary is at most as large as the embedding.
  public let tokenizer: Tokenizer
  /// The default chat template; `nil` for a base model without one.
  public var chatTemplate: ChatTemplate? { chatRenderer?.defaultTemplate }
  /// Renders conversations with the model's chat templates and special tokens; `nil` for a base model without a
  /// template.
  public let chatRenderer: ChatRenderer?
  /// The tokens that end an answer: the EOS token; those that generation_config.json names, or config.json without that
  /// file, or a GGUF header; and the end-of-turn tokens of all families, because fine-tuned models borrow each other's.
  public private(set) var stopTokens: Set<Int32>
  /// The EOS token that saved files name: the tokenizer's, unless `setEndOfSequence` has replaced it.
  public private(set) var endOfSequence: SpecialTokens.Token?
  /// The padding token that saved files name; the tokenizer's unless `setPadding` changed it.
  public private(set) var padding: SpecialTokens.Token?

  /// Opens a Hugging Face folder or a GGUF file.
  /// - Parameters:
  ///   - inFloat32: whether to convert all weights to float32, for training every weight.
  ///   - quantization: how to quantize linear layers that are stored as floats.
  /// - Throws: `SwiftletError` naming the file at fault.
  public convenience init(
    opening url: URL, on backend: any Backend = CPUBackend.shared, inFloat32: Bool = false,
    quantization: QuantizationConfiguration? = nil
  ) throws {
    let files = try ModelFiles(opening: url)
    try self.init(files, tokenizer: files.tokenizer(), on: backend, inFloat32: inFloat32, quantization: quantization)
  }

  /// Loads a model from opened files.
  /// - Parameters:
  ///   - chatTemplate: a template's source, to use instead of the tokenizer's.
  ///   - inFloat32: whether to convert all weights to float32, for training every weight.
  ///   - quantization: how to quantize linear layers that are stored as floats.
  ///   - progress: called after each layer with the number of layers read so far and the total.
  /// - Throws: `SwiftletError` naming the file at fault.
  public init(
    _ files: ModelFiles, tokenizer: Tokenizer, chatTemplate: String? = nil, on backend: any Backend = CPUBackend.shared,
    inFloat32: Bool = false, quantization: QuantizationConfiguration? = nil,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    self.files = files
    self.tokenizer = tokenizer
    do {
      chatRenderer = try ChatRenderer(tokenizer: tokenizer, template: chatTemplate)
    } catch {
      throw SwiftletError.model("the chat template can't be parsed: \(error)", in: files.url.path)
    }
    endOfSequence = tokenizer.specialTokens.eos
    padding = tokenizer.specialTokens.pad
    stopTokens = Self.stopTokens(files, tokenizer)
    transformer = try Transformer(
      files, on: backend, inFloat32: inFloat32, quantization: quantization, progress: progress)
    let rows = transformer.configuration.vocabularySize
    guard tokenizer.vocabularySize <= rows else {
      throw SwiftletError.model(
        "the tokenizer has ids up to \(tokenizer.vocabularySize - 1), but the model has only \(rows) embeddings; "
          + "use the tokenizer that belongs to the model", in: files.url.path)
    }
    guard files.hasWeights else {
      throw SwiftletError.model("model.safetensors is missing; download the model again", in: files.url.path)
    }
  }

  private static func stopTokens(_ files: ModelFiles, _ tokenizer: Tokenizer) -> Set<Int32> {
    var stops = Set(files.stopTokens)
    if let eos = tokenizer.specialTokens.eos { stops.insert(eos.id) }
    for text in Family.all.flatMap(\.endOfTurnTokens) {
      if let id = tokenizer.id(of: text), tokenizer.specialTokens.ids.contains(id) { stops.insert(id) }
    }
    return stops
  }

  /// Makes `token` the EOS token: the model stops at it, and saved files name it, as with TRL's `eos_token`.
  /// - Throws: `SwiftletError` if the tokenizer doesn't have the token.
  public func setEndOfSequence(_ token: String) throws(SwiftletError) {
    guard let id = tokenizer.id(of: token) else {
      throw SwiftletError.model(
        "\(token.quotedExcerpt) is not in the tokenizer's vocabulary; use a token that is", in: files.url.path)
    }
    endOfSequence = SpecialTokens.Token(text: token, id: id)
    stopTokens.insert(id)
  }

  /// Makes `token` the padding token in saved files, as with TRL's `pad_token`.
  /// - Throws: `SwiftletError` if the tokenizer doesn't have the token.
  public func setPadding(_ token: String) throws(SwiftletError) {
    guard let id = tokenizer.id(of: token) else {
      throw SwiftletError.model(
        "\(token.quotedExcerpt) is not in the tokenizer's vocabulary; use a token that is", in: files.url.path)
    }
    padding = SpecialTokens.Token(text: token, id: id)
  }

  /// Makes the EOS and padding tokens in an adapter's own tokenizer files, with which it was trained, those of the
  /// model.
  /// - Throws: `SwiftletError` if a file is not JSON.
  package func takeSpecialTokens(ofAdapter folder: URL) throws {
    func json(_ name: String) throws -> JSONValue? {
      let url = folder.appendingPathComponent(name)
      return FileManager.default.fileExists(atPath: url.path) ? try ModelFiles.json(at: url) : nil
    }
    let configuration = try json("tokenizer_config.json")
    // As in a model's folder, see `SpecialTokens`.
    let map = configuration?["added_tokens_decoder"] == nil ? try json("special_tokens_map.json") : nil
    func token(_ key: String) -> String? {
      let value = map?[key] ?? configuration?[key]
      return (value?.string ?? value?["content"]?.string).flatMap { tokenizer.id(of: $0) == nil ? nil : $0 }
    }
    if let token = token("eos_token") { try setEndOfSequence(token) }
    if let token = token("pad_token") { try setPadding(token) }
  }

  // MARK: Prompts

  /// The variables that every chat template may use.
  public func templateVariables(thinking: Bool? = nil) -> JSONObject {
    var variables = chatRenderer?.variables ?? ChatRenderer.variables(of: tokenizer)
    if let endOfSequence { variables["eos_token"] = .string(endOfSequence.text) }
    if let padding { variables["pad_token"] = .string(padding.text) }
    if let thinking { variables["enable_thinking"] = .bool(thinking) }
    return variables
  }

  /// Renders messages with the generation prompt and encodes them.
  /// - Throws: `SwiftletError` if there is no chat template or it rejects the messages.
  public func prompt(_ messages: [Message], tools: JSONValue? = nil, thinking: Bool? = nil) throws -> [Int32] {
    guard let chatRenderer else {
      throw SwiftletError.model(
        "the model has no chat template; use plain text, or set a template with chat_template_path", in: files.url.path)
    }
    var conversation = Conversation(messages, tools: tools, addsGenerationPrompt: true)
    conversation.variables = templateVariables(thinking: thinking)
    // The template itself writes the special tokens.
    let rendering = try chatRenderer.render(conversation)
    return tokenizer.encode(rendering.text, addSpecialTokens: false)
  }

  /// Checks that the model can continue `ids`.
  /// - Throws: `SwiftletError` if there are none, or too many for the context.
  public func checkPrompt(_ ids: [Int32]) throws(SwiftletError) {
    let context = transformer.configuration.contextLength
    try checkGenerates()
    if ids.isEmpty { throw SwiftletError.model("the prompt is empty; give it some text") }
    guard ids.count < context else {
      throw SwiftletError.model(
        "the prompt has \(ids.count) tokens, but the model's context is limited to \(context); shorten the prompt")
    }
  }

  /// Checks that this is a language model.
  /// - Throws: `SwiftletError` for a sequence classifier or reward model.
  package func checkGenerates() throws(SwiftletError) {
    guard let head = transformer.sequenceHead else { return }
    throw SwiftletError.model(
      "this is a \(head.isReward ? "reward model" : "classifier"), which predicts no text; use swiftlet score",
      in: files.url.path)
  }

  /// Checks that the model can score `ids`.
  func checkLength(_ ids: [Int32]) throws(SwiftletError) {
    let context = transformer.configuration.contextLength
    if ids.isEmpty { throw SwiftletError.model("the text is empty, so there is nothing to score; give it some text") }
    guard ids.count <= context else {
      throw SwiftletError.model(
        "the text has \(ids.count) tokens, but the model's context is limited to \(context); shorten it")
    }
  }

  // MARK: Generation

  /// Continues a prompt, and decodes the new tokens as they are sampled.
  ///
  /// - Parameters:
  ///   - prompt: at least one token.
  ///   - cache: the KV cache of an earlier part of the conversation, to be continued.
  ///   - stream: called with each piece of text that can no longer change; return `false` to stop.
  ///   - reading: called before each chunk of a long prompt with the number of its tokens that have been read, and of
  ///     all; return `false` to stop.
  /// - Returns: the text without special tokens, and the generated tokens.
  public func generate(
    _ prompt: [Int32], cache: KeyValueCache? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int = 512, stream: (String) -> Bool = { _ in true },
    reading: (_ read: Int, _ total: Int) -> Bool = { _, _ in true }
  ) -> (text: String, generation: Generation) {
    var text = ""
    var streamDecoder = tokenizer.streamDecoder(skipSpecialTokens: true)
    let generation = transformer.generate(
      prompt, cache: cache, sampling: sampling, maxNewTokens: maxNewTokens, stopTokens: stopTokens,
      each: { id in
        let piece = streamDecoder.append(id)
        text += piece
        return piece.isEmpty || stream(piece)
      },
      reading: reading)
    let rest = streamDecoder.finish()
    if !rest.isEmpty { _ = stream(rest) }
    return (text + rest, generation)
  }
}
