import Diagnostics
import ChatTemplates
import Foundation
import OrderedJSON
import Tensors
import Tokenizers

/// A language model ready to use: transformer, tokenizer, chat template and stop tokens.
public final class CausalLM {
  /// Where it came from.
  public let files: ModelFiles
  /// The transformer.
  public let transformer: Transformer
  /// Text to ids and back.
  public let tokenizer: Tokenizer
  /// What turns messages into text; `nil` for a base model that has none.
  public var chatTemplate: ChatTemplate? { chatRenderer?.defaultTemplate }
  /// Renders conversations with the model's chat templates and special tokens; `nil` for a base model without a template.
  public let chatRenderer: ChatRenderer?
  /// Ids that end an answer: the tokenizer's end, those of `generation_config.json`, and ends of turns.
  public let stopTokens: Set<Int32>

  /// Opens a Hugging Face folder or a GGUF file.
  /// - Parameters:
  ///   - widened: whether all weights become float32, for training every one of them.
  ///   - quantization: how linear layers that the files have as floats become 4-bit codes.
  /// - Throws: `SwiftletError` naming the file at fault.
  public convenience init(
    opening url: URL, on backend: any Backend = CPUBackend.shared, inFloat32: Bool = false,
    quantization: QuantizationConfiguration? = nil
  ) throws {
    let files = try ModelFiles(opening: url)
    try self.init(files, tokenizer: files.tokenizer(), on: backend, inFloat32: inFloat32, quantization: quantization)
  }

  /// A model of these files with this tokenizer; `chatTemplate` overrides the tokenizer's own, and `progress` is told
  /// how many layers have been read, and of how many.
  public init(
    _ files: ModelFiles, tokenizer: Tokenizer, chatTemplate: String? = nil, on backend: any Backend = CPUBackend.shared,
    inFloat32: Bool = false, quantization: QuantizationConfiguration? = nil, progress: (Int, Int) -> Void = { _, _ in }
  ) throws {
    self.files = files
    self.tokenizer = tokenizer
    do {
      chatRenderer = try ChatRenderer(tokenizer: tokenizer, template: chatTemplate)
    } catch {
      throw SwiftletError.model("\(files.url.path): the chat template is broken: \(error)")
    }
    stopTokens = Self.stopTokens(files, tokenizer)
    transformer = try Transformer(
      files, on: backend, inFloat32: inFloat32, quantization: quantization, progress: progress)
    guard tokenizer.vocabularySize <= transformer.configuration.vocabularySize else {
      throw SwiftletError.model(
        "\(files.url.path): the tokenizer has ids up to \(tokenizer.vocabularySize - 1), the model only "
          + "\(transformer.configuration.vocabularySize); they do not belong together")
    }
    guard files.hasWeights else {
      throw SwiftletError.model("\(files.url.path): there is no model.safetensors; is the download complete?")
    }
  }

  /// Tokens that end a turn in the templates of the families that we open.
  private static let endsOfTurns = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>"]

  private static func stopTokens(_ files: ModelFiles, _ tokenizer: Tokenizer) -> Set<Int32> {
    var stops: Set<Int32> = []
    if let eos = tokenizer.specialTokens.eos { stops.insert(eos.id) }
    for text in endsOfTurns {
      if let id = tokenizer.id(of: text), tokenizer.specialTokens.ids.contains(id) { stops.insert(id) }
    }
    let url = files.url.appendingPathComponent("generation_config.json")
    if let json = try? ModelFiles.json(at: url) {
      let ids = json["eos_token_id"]?.array ?? json["eos_token_id"].map { [$0] } ?? []
      stops.formUnion(ids.compactMap { $0.integer.flatMap { Int32(exactly: $0) } })
    }
    return stops
  }

  /// Variables that every template may use.
  public func templateVariables(thinking: Bool? = nil) -> JSONObject {
    var variables = chatRenderer?.variables ?? ChatRenderer.variables(of: tokenizer)
    if let thinking { variables["enable_thinking"] = .bool(thinking) }
    return variables
  }

  /// The ids that ask the model for its next turn.
  /// - Throws: `SwiftletError` if there is no chat template, `SwiftletError` if it cannot render these messages.
  public func prompt(_ messages: [Message], tools: JSONValue? = nil, thinking: Bool? = nil) throws -> [Int32] {
    guard let chatRenderer else {
      throw SwiftletError.model(
        "\(files.url.path): the model has no chat template; give plain text, or a template by chat_template_path")
    }
    var conversation = Conversation(messages, tools: tools, addsGenerationPrompt: true)
    if let thinking { conversation.variables["enable_thinking"] = .bool(thinking) }
    let rendering = try chatRenderer.render(conversation)
    // The template writes the special tokens itself.
    return tokenizer.encode(rendering.text, addSpecialTokens: false)
  }

  /// Whether the model can answer `ids`.
  /// - Throws: `SwiftletError` if there are none, or as many as the context holds.
  public func checkPrompt(_ ids: [Int32]) throws(SwiftletError) {
    let context = transformer.configuration.contextLength
    if ids.isEmpty { throw SwiftletError.model("the prompt is empty; give it some text") }
    guard ids.count < context else {
      throw SwiftletError.model("the prompt has \(ids.count) tokens and the model's context \(context); shorten it")
    }
  }

  /// Continues ids and decodes as it goes.
  ///
  /// - Parameter stream: called with each piece of text that is certain not to change; `false` ends the generation.
  /// - Returns: the text without special tokens, and the generation.
  public func generate(
    _ prompt: [Int32], cache: KeyValueCache? = nil, sampling: SamplingConfiguration = SamplingConfiguration(),
    maxNewTokens: Int = 512, stream: (String) -> Bool = { _ in true }
  ) -> (text: String, generation: Generation) {
    var text = ""
    var streamDecoder = tokenizer.streamDecoder(skipSpecialTokens: true)
    let generation = transformer.generate(
      prompt, cache: cache, sampling: sampling, maxNewTokens: maxNewTokens, stopTokens: stopTokens
    ) { id in
      let piece = streamDecoder.append(id)
      text += piece
      return piece.isEmpty || stream(piece)
    }
    let rest = streamDecoder.finish()
    if !rest.isEmpty { _ = stream(rest) }
    return (text + rest, generation)
  }
}

extension ModelFiles {
  /// The tokenizer of the folder, or of the GGUF header.
  /// - Throws: `SwiftletError` if there is none or it cannot be read.
  public func tokenizer() throws -> Tokenizer {
    if let gguf { return try Tokenizer(gguf: GGUFVocabulary(gguf)) }
    return try Tokenizer(directory: url)
  }
}
