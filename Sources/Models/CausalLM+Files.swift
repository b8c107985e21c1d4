import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

extension CausalLM {
  /// Writes the model as a Hugging Face folder: config.json, generation_config.json, and safetensors in shards of at
  /// most 5 GB. LoRA updates are merged into the written weights; the model itself doesn't change.
  ///
  /// - Parameters:
  ///   - type: the float type to store weights in. Tensors that aren't part of the transformer, such as those of a
  ///     vision tower, are copied as they are.
  ///   - quantization: how to store linear layers in 4 bits instead. Layers that are in 4 bits already keep their
  ///     format, and layers that the model's own configuration skips stay floats.
  ///   - progress: called with the number of bytes written so far and the total.
  /// - Throws: `SwiftletError` if a weight can't be quantized or the folder can't be written.
  public func write(
    to folder: URL, type: ElementType, quantization: QuantizationConfiguration? = nil,
    progress: @escaping (Int, Int) -> Void = { _, _ in }
  ) throws {
    if transformer.configuration.hasMLXModules {
      throw SwiftletError.model(
        "the model has mlx-lm's layers, which transformers doesn't have; start from the original model, or export with "
          + "--format mlx", in: files.url.path)
    }
    let backend = transformer.backend
    let quantization = quantization.map { files.quantization ?? $0 }
    let entries = quantization.map {
      [("quantization_config", files.configurationJSON["quantization_config"] ?? $0.json)]
    }
    try write(to: folder, type: type, format: "pt", entries: entries ?? [], progress) { parameter, linear in
      guard let quantization, let linear else { return nil }
      return try linear.mergedAndQuantized(quantization, on: backend).map {
        TensorSource.bitsandbytes(name: files.fileName(of: parameter.name), $0, dtype: type)
      }
    }
  }

  /// Writes the model as a folder.
  /// - Parameters:
  ///   - format: what the weights' metadata calls the framework.
  ///   - entries: what to add to config.json; it says nothing else about quantization.
  ///   - experts: the tensors of the experts' matrices; `nil` for those of transformers.
  ///   - quantized: the tensors of a quantized parameter; `nil` for one that is stored in `type`. The linear layer is that
  ///     of its weight.
  func write(
    to folder: URL, type: ElementType, format: String, entries: [(String, JSONValue)],
    _ progress: @escaping (Int, Int) -> Void,
    experts: ((ExpertParameter) -> [TensorSource])? = nil, quantized: (Parameter, Linear?) throws -> [TensorSource]?
  ) throws {
    try transformer.checkMergeable(files.url.path)
    let linearLayers = Dictionary(uniqueKeysWithValues: transformer.linearLayers.map { ($0.weight.name, $0) })
    let merging = transformer.merging
    let backend = transformer.backend
    let shift = files.normShift
    let shifted = Set(shift == 0 ? [] : transformer.offsetNorms.map(ObjectIdentifier.init))
    let stacked: (sources: [TensorSource], names: Set<String>)? =
      if let experts {
        (
          transformer.expertParameters.flatMap(experts),
          Set(transformer.expertLayers.flatMap(\.ownParameters).map(\.name))
        )
      } else {
        files.stackedExperts?.sources(
          of: transformer.expertParameters, merging: merging, type: type, on: backend)
      }
    let single = (transformer.parameters + transformer.constants).filter { stacked?.names.contains($0.name) != true }
    let sources = try single.flatMap { parameter -> [TensorSource] in
      if let sources = try quantized(parameter, linearLayers[parameter.name]) { return sources }
      return [
        TensorSource(name: files.fileName(of: parameter.name), type: type, shape: parameter.value.shape) {
          let merged = merging[parameter.name]?()
          guard shifted.contains(ObjectIdentifier(parameter)) else {
            let stored = parameter.value
            let value = merged ?? linearLayers[parameter.name]?.inInputOrder(stored, on: backend) ?? stored
            return backend.converted(value, to: type)
          }
          let values = backend.floats(parameter.value).map { $0 - shift }
          return backend.converted(backend.tensor(values, parameter.value.shape), to: type)
        }
      ]
    }
    let all =
      sources + (stacked?.sources ?? []) + files.otherTensors(than: transformer.parameters + transformer.constants)
    try SafetensorsWriter.write(counted(all, progress), metadata: ["format": format], toFolder: folder)
    try AtomicFile.write(
      configuration(type, entries).text(.pretty) + "\n", to: folder.appendingPathComponent("config.json"))
    if transformer.sequenceHead != nil { return }
    try AtomicFile.write(
      generationConfiguration().text(.pretty) + "\n", to: folder.appendingPathComponent("generation_config.json"))
  }

  /// Writes the tokenizer's files, with `endOfSequence` and `padding` as the EOS and padding tokens, and the chat
  /// template as chat_template.jinja.
  /// - Throws: `SwiftletError` if the folder can't be written.
  public func writeTokenizer(to folder: URL) throws {
    try tokenizer.write(to: folder)
    let special = tokenizer.specialTokens
    for (key, token, original) in [("eos_token", endOfSequence, special.eos), ("pad_token", padding, special.pad)] {
      guard let token, token != original else { continue }
      for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        try set(key, token.text, in: folder.appendingPathComponent(name))
      }
    }
    let config = folder.appendingPathComponent("tokenizer_config.json")
    if FileManager.default.fileExists(atPath: config.path), let json = try ModelFiles.json(at: config).object {
      let published = json.withoutPrivateNames
      if published != json { try AtomicFile.write(JSONValue.object(published).text(.pretty) + "\n", to: config) }
    }
    guard let chatTemplate else { return }
    try AtomicFile.write(chatTemplate.source, to: folder.appendingPathComponent("chat_template.jinja"))
  }

  private func set(_ key: String, _ token: String, in file: URL) throws {
    guard FileManager.default.fileExists(atPath: file.path), var json = try ModelFiles.json(at: file).object else {
      return
    }
    json[key] = .string(token)
    try AtomicFile.write(JSONValue.object(json).text(.pretty) + "\n", to: file)
  }

  /// The base model's config.json; for a GGUF base, what transformers needs.
  private func configuration(_ type: ElementType, _ entries: [(String, JSONValue)]) -> JSONValue {
    var config = (files.configurationJSON.object ?? JSONObject()).withoutPrivateNames
    for key in ["quantization", "quantization_config"] where !entries.contains(where: { $0.0 == key }) {
      config[key] = nil
    }
    for (key, value) in entries { config[key] = value }
    // Experts in MXFP4 are written as they are, unless some are merged.
    if !entries.contains(where: { $0.0 == "quantization_config" }),
      transformer.expertLayers.contains(where: { $0.weight.value.type == .float4 }),
      files.stackedExperts?.isMLX == false,
      !transformer.expertLayers.contains(where: { $0.lora != nil })
    {
      config["quantization_config"] = files.configurationJSON["quantization_config"]
    }
    config["torch_dtype"] = nil
    config["dtype"] = .string(type.rawValue)
    if config["architectures"] == nil {
      config["architectures"] = .array([.string(transformer.configuration.family.className)])
    }
    if transformer.configuration.tiesEmbeddings, transformer.head !== transformer.embedding {
      config["tie_word_embeddings"] = false
      if config["tie_embedding"] != nil { config["tie_embedding"] = false }
    }
    if let endOfSequence { config["eos_token_id"] = .integer(Int(endOfSequence.id)) }
    if let bos = tokenizer.specialTokens.bos { config["bos_token_id"] = .integer(Int(bos.id)) }
    if let padding, padding != tokenizer.specialTokens.pad { config["pad_token_id"] = .integer(Int(padding.id)) }
    if let head = transformer.sequenceHead {
      config["architectures"] = transformer.configuration.family.classifierName.map { .array([.string($0)]) }
      for (key, value) in SequenceHead.json(labels: head.labels) { config[key] = value }
      config["problem_type"] = head.isReward ? nil : "single_label_classification"
      config["pad_token_id"] = headPadding.map { .integer(Int($0)) } ?? .null
    }
    return .object(config)
  }

  private func generationConfiguration() -> JSONValue {
    var config = JSONObject()
    if let bos = tokenizer.specialTokens.bos { config["bos_token_id"] = .integer(Int(bos.id)) }
    config["eos_token_id"] = .array(stopTokens.sorted().map { .integer(Int($0)) })
    if let padding { config["pad_token_id"] = .integer(Int(padding.id)) }
    return .object(config)
  }
}

extension JSONObject {
  /// The configuration without names of a model or tokenizer that are a path on the machine of whoever saved it.
  fileprivate var withoutPrivateNames: JSONObject {
    JSONObject(
      members.compactMap { key, value in
        if ["_name_or_path", "name_or_path"].contains(key), !BaseModelReference.isHubName(value.string ?? "") {
          return nil
        }
        return (key, value.object.map { .object($0.withoutPrivateNames) } ?? value)
      })
  }
}

extension Transformer {
  /// What the parameters become that an adapter changes, in float32, by their names.
  var merging: [String: () -> Tensor?] {
    var merging: [String: () -> Tensor?] = [:]
    let backend = backend
    for layer in linearLayers + expertLayers where layer.lora != nil {
      merging[layer.weight.name] = { layer.mergedWeight(on: backend) }
      if let bias = layer.bias, layer.lora?.bias != nil { merging[bias.name] = { layer.mergedBias(on: backend) } }
    }
    for table in [embedding, head] where table.replacement != nil {
      merging[table.name] = { table.replacedValue(on: backend) }
    }
    return merging
  }

  /// Checks that the model has a place for everything that an adapter adds.
  func checkMergeable(_ path: String) throws(SwiftletError) {
    guard let layer = linearLayers.first(where: { $0.bias == nil && $0.lora?.bias != nil }) else { return }
    throw SwiftletError.model(
      "the adapter adds a bias to \(layer.path) (lora_bias), which has none, so it can't be merged; use the base model "
        + "with the adapter", in: path)
  }
}

extension Linear {
  /// The bias with that of the LoRA update.
  func mergedBias(on backend: any Backend) -> Tensor? {
    guard let bias, let lora, let added = lora.bias else { return nil }
    let merged = backend.converted(bias.value, to: .float32)
    backend.add(added.value, scale: lora.scale, into: merged)
    return merged
  }

  /// A weight of this layer with its columns in the order of the input.
  func inInputOrder(_ weight: Tensor, on backend: any Backend) -> Tensor {
    columnOrder.map { backend.reorderedColumns(weight, $0.inverse) } ?? weight
  }

  /// W + scale · B A in float32, with its rows brought to their magnitudes by DoRA and its columns in the order of the
  /// input; `nil` without a LoRA update.
  func mergedWeight(on backend: any Backend) -> Tensor? {
    guard let lora else { return nil }
    let merged = backend.converted(weight.value, to: .float32)
    func term(_ a: Tensor, _ b: Tensor, scale: Float) -> ProductTerm {
      ProductTerm(backend.leftOperand(Columns(backend.scaled(b, scale)), transposed: false), a, transposed: false)
    }
    var terms = [term(lora.a.value, lora.b.value, scale: lora.scale)]
    if let initial = lora.initial { terms.append(term(initial.a, initial.b, scale: -lora.scale)) }
    backend.compute([Product(terms, into: Columns(merged), accumulate: true)])
    if let magnitude = lora.magnitude {
      backend.scaleRows(merged, by: magnitude.rowScales(lora, weight: weight.value, on: backend))
    }
    return inInputOrder(merged, on: backend)
  }

  /// The merged weight in 4 bits: in its current format, or in that of `quantization`; `nil` if it isn't quantized.
  func mergedAndQuantized(
    _ quantization: QuantizationConfiguration, on backend: any Backend
  ) throws(SwiftletError) -> Tensor? {
    guard let format = weight.value.fourBitFormat ?? (quantization.quantizes(path) ? quantization.format : nil) else {
      return nil
    }
    if lora == nil, weight.value.type.isFourBitCode { return weight.value }
    guard
      let quantized = backend.quantized(
        mergedWeight(on: backend) ?? inInputOrder(weight.value, on: backend), to: format)
    else {
      throw SwiftletError.model(
        "the merged weight \(weight.name) has a value that is not finite; check the adapter")
    }
    return quantized
  }
}
