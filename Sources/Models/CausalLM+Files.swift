import Diagnostics
import Checkpoints
import Foundation
import OrderedJSON
import Tensors

extension CausalLM {
  /// Writes the model as a Hugging Face folder: `config.json`, safetensors in shards of at most 5 GB, generation
  /// configuration. Adapters on its layers are merged into what is written; the model itself stays as it is.
  ///
  /// - Parameters:
  ///   - type: what weights are stored as; one of the float types.
  ///   - quantization: how linear layers are stored as 4-bit codes instead. Those that are such codes already stay so,
  ///     in their own format, and those that the model's own configuration leaves as floats stay floats.
  ///   - progress: told of the bytes written and of those there will be.
  /// - Throws: `SwiftletError` if the folder cannot be written, `SwiftletError` if a weight cannot be quantized.
  public func write(
    to folder: URL, type: ElementType, quantization: QuantizationConfiguration? = nil,
    progress: @escaping (Int, Int) -> Void = { _, _ in }
  ) throws {
    let linearLayers = Dictionary(uniqueKeysWithValues: transformer.linearLayers.map { ($0.weight.name, $0) })
    let backend = transformer.backend
    let quantization = quantization.map { files.quantization ?? $0 }
    let sources = try transformer.parameters.flatMap { parameter -> [TensorSource] in
      if let quantization, let linear = linearLayers[parameter.name] {
        let codes = try linear.mergedCodes(quantization, on: backend)
        if let codes { return TensorSource.bitsandbytes(name: parameter.name, codes, dtype: type) }
      }
      return [
        TensorSource(name: parameter.name, type: type, shape: parameter.value.shape) {
          let merged = linearLayers[parameter.name].flatMap { $0.mergedWeight(on: backend) }
          return backend.converted(merged ?? parameter.value, to: type)
        }
      ]
    }
    try SafetensorsWriter.write(counted(sources, progress), metadata: ["format": "pt"], toFolder: folder)
    try AtomicFile.write(
      configuration(type, quantization).text(.pretty) + "\n", to: folder.appendingPathComponent("config.json"))
    try AtomicFile.write(
      generationConfiguration().text(.pretty) + "\n", to: folder.appendingPathComponent("generation_config.json"))
  }

  /// Writes the tokenizer's files, and the chat template as `chat_template.jinja`, wherever it came from.
  /// - Throws: `SwiftletError` or `SwiftletError` if the folder cannot be written.
  public func writeTokenizer(to folder: URL) throws {
    try tokenizer.write(to: folder)
    guard let chatTemplate else { return }
    try AtomicFile.write(chatTemplate.source, to: folder.appendingPathComponent("chat_template.jinja"))
  }

  /// The base's `config.json`; of a GGUF header, what transformers needs.
  private func configuration(_ type: ElementType, _ quantization: QuantizationConfiguration?) -> JSONValue {
    var config = files.configurationJSON.object ?? JSONObject()
    config["quantization_config"] = quantization.map { files.configurationJSON["quantization_config"] ?? $0.json }
    config["torch_dtype"] = nil
    config["dtype"] = .string(type.rawValue)
    if config["architectures"] == nil {
      config["architectures"] = .array([.string(Self.architecture(of: transformer))])
    }
    if let eos = tokenizer.specialTokens.eos { config["eos_token_id"] = .integer(Int(eos.id)) }
    if let bos = tokenizer.specialTokens.bos { config["bos_token_id"] = .integer(Int(bos.id)) }
    return .object(config)
  }

  private static func architecture(of transformer: Transformer) -> String {
    switch transformer.configuration.modelType {
    case "qwen2": "Qwen2ForCausalLM"
    case "qwen3": "Qwen3ForCausalLM"
    case "mistral": "MistralForCausalLM"
    case "phi3": "Phi3ForCausalLM"
    case "gemma3_text": "Gemma3ForCausalLM"
    case "smollm3": "SmolLM3ForCausalLM"
    default: "LlamaForCausalLM"
    }
  }

  private func generationConfiguration() -> JSONValue {
    var config = JSONObject()
    if let bos = tokenizer.specialTokens.bos { config["bos_token_id"] = .integer(Int(bos.id)) }
    config["eos_token_id"] = .array(stopTokens.sorted().map { .integer(Int($0)) })
    if let pad = tokenizer.specialTokens.pad { config["pad_token_id"] = .integer(Int(pad.id)) }
    return .object(config)
  }
}

extension Linear {
  /// W + scale · B A in float32, or `nil` without an adapter.
  func mergedWeight(on backend: any Backend) -> Tensor? {
    guard let lora else { return nil }
    let merged = backend.converted(weight.value, to: .float32)
    let scaledB = backend.leftOperand(Columns(backend.scaled(lora.b.value, lora.scale)), transposed: false)
    backend.compute([
      Product([ProductTerm(scaledB, lora.a.value, transposed: false)], into: Columns(merged), accumulate: true)
    ])
    return merged
  }

  /// The weight with its update as 4-bit codes: in the format that it has, else in that of `quantization`; `nil` where
  /// neither makes it one.
  func mergedCodes(_ quantization: QuantizationConfiguration, on backend: any Backend) throws(SwiftletError) -> Tensor?
  {
    guard let format = weight.value.fourBitFormat ?? (quantization.quantizes(path) ? quantization.format : nil) else {
      return nil
    }
    if lora == nil, weight.value.type.isFourBitCode { return weight.value }
    guard let codes = backend.quantized(mergedWeight(on: backend) ?? weight.value, to: format) else {
      throw SwiftletError.model(
        "the merged weight \(weight.name) has a value that is not finite; is the adapter damaged?")
    }
    return codes
  }
}
