import Checkpoints
import Diagnostics
import Essentials
import OrderedJSON
import Tensors

extension CausalLM {
  /// Writes the model as a folder for MLX: config.json, generation_config.json and safetensors, as mlx-lm's `convert` does.
  /// LoRA updates are merged into the written weights; the model itself doesn't change.
  ///
  /// - Parameters:
  ///   - format: how to quantize linear layers, the embedding and the head; those whose rows aren't whole groups stay
  ///     floats. `nil` to write floats only. Weights without an update that have this format already are copied, and experts in
  ///     MXFP4 keep their codes.
  ///   - type: the float type of everything else, and of scales and biases.
  ///   - progress: called with the number of bytes written so far and the total.
  /// - Returns: notes on when mlx-lm's answers will differ, one sentence each.
  /// - Throws: `SwiftletError` if mlx-lm has no such model, a weight can't be quantized or the folder can't be written.
  @discardableResult
  public func writeMLX(
    to folder: URL, format: AffineFormat?, type: ElementType, progress: @escaping (Int, Int) -> Void = { _, _ in }
  ) throws -> [String] {
    if transformer.sequenceHead != nil {
      throw SwiftletError.model(
        "a model with a classification head can't be written for MLX; use merge to save it for transformers",
        in: files.url.path)
    }
    let backend = transformer.backend
    let matrices = format.map(quantizedMatrices) ?? []
    let coded = Set(matrices.map(ObjectIdentifier.init))
    let storage = transformer.configuration.expertStorage ?? .apart
    let experts = MLXExperts(
      format: format, type: type, merging: transformer.merging, backend: backend, module: storage.mlxModule,
      path: files.url.path)
    let parameters = transformer.expertParameters
    let modules = matrices.map { String(files.fileName(of: $0.name).dropLast(".weight".count)) }
    let entries = MLXQuantization.entries(
      format, modules: modules + parameters.flatMap(experts.quantizedModules),
      hasMXFP4: parameters.contains { $0.stacks.contains(where: experts.keepsCodes) })
    try write(
      to: folder, type: type, format: "mlx", entries: entries + formerEntries, progress, experts: experts.sources
    ) { parameter, linear in
      let names = mlxNames(of: parameter)
      guard let format, coded.contains(ObjectIdentifier(parameter)) else {
        return names.map { parts($0, of: parameter, linear, type) }
      }
      let merged = linear?.mergedWeight(on: backend)
      if merged == nil, names == nil, parameter.value.affineFormat == format {
        return TensorSource.mlx(name: files.fileName(of: parameter.name), parameter.value)
      }
      // Rounded first, as by mlx-lm; not what was merged in float32.
      let value =
        merged ?? backend.converted(linear?.inInputOrder(parameter.value, on: backend) ?? parameter.value, to: type)
      let shares = names ?? [files.fileName(of: parameter.name)]
      return try shares.enumerated().flatMap { index, name in
        let rows = value.rowShare(index, of: shares.count)
        guard let quantized = backend.quantized(rows, to: format, scaleType: type) else {
          throw SwiftletError.model(
            "\(parameter.name) can't be quantized: it has a value that is not finite; check the adapter or download the "
              + "file again", in: files.url.path)
        }
        return TensorSource.mlx(name: name, quantized)
      }
    }
    return mlxNotes
  }

  /// The names of the tensors that mlx-lm has instead of a parameter, whose rows they share out; `nil` if it has the same.
  private func mlxNames(of parameter: Parameter) -> [String]? {
    let name = files.fileName(of: parameter.name)
    let names = transformer.configuration.separateNames(of: name)
    return names == [name] ? nil : names
  }

  private func parts(
    _ names: [String], of parameter: Parameter, _ linear: Linear?, _ type: ElementType
  ) -> [TensorSource] {
    let backend = transformer.backend
    let shape = [parameter.value.shape[0] / names.count] + parameter.value.shape.dropFirst()
    return names.indices.map { index in
      TensorSource(name: names[index], type: type, shape: shape) {
        let value = backend.converted(linear?.mergedWeight(on: backend) ?? parameter.value, to: type)
        return value.rowShare(index, of: names.count)
      }
    }
  }

  private var mlxNotes: [String] {
    let configuration = transformer.configuration
    var notes: [String] = []
    if !configuration.family.mlxHasFamily {
      notes.append("mlx-lm 0.32 has no models of type \(configuration.modelType) yet")
    }
    if case .longrope(_, _, let original, _) = configuration.globalRotary?.scaling {
      notes.append(
        "mlx-lm uses the long RoPE factors for texts of any length; its answers differ up to \(original) tokens")
    }
    if !configuration.family.mlxAppliesWindows, let window = configuration.shortestWindow {
      notes.append("mlx-lm has no sliding window for this model; its answers differ beyond \(window) tokens")
    }
    return notes
  }

  /// The matrices whose rows are whole groups of a format.
  private func quantizedMatrices(_ format: AffineFormat) -> [Parameter] {
    let ends = transformer.head === transformer.embedding ? [] : [transformer.head]
    return ([transformer.embedding] + transformer.linearLayers.map(\.weight) + ends).filter {
      $0.value.columns % format.groupSize == 0
    }
  }

  /// What mlx-lm looks for in config.json where transformers 5 has other names or places, as far as it is missing.
  private var formerEntries: [(String, JSONValue)] {
    let json = files.configurationJSON
    guard var text = json["text_config"]?.object else { return formerEntries(of: json) }
    for (key, value) in formerEntries(of: .object(text)) { text[key] = value }
    text["tie_word_embeddings"] = .bool(transformer.head === transformer.embedding)
    // mlx-lm takes that of Gemma 3 from outside.
    let size = JSONValue.integer(transformer.configuration.vocabularySize)
    return [("text_config", .object(text)), ("vocab_size", size)]
  }

  private func formerEntries(of json: JSONValue) -> [(String, JSONValue)] {
    let layers = transformer.configuration.layers
    var entries = transformer.configuration.family.mlxEntries(transformer.configuration, json)
    func add(_ key: String, _ value: JSONValue?) {
      if let value, json[key] == nil || json[key]?.isNull == true { entries.append((key, value)) }
    }
    if let experts = layers.lazy.compactMap(\.experts).first {
      add("num_experts", .integer(experts.count))
    }
    if let own = json["per_layer_config"]?.object?.members.first?.value {
      add("global_head_dim", own["head_dim"])
      add("num_global_key_value_heads", own["num_key_value_heads"])
    }
    if layers.contains(where: { if case .gatedDelta = $0.mixer { true } else { false } }),
      let first = layers.firstIndex(where: { $0.mixer == .attention })
    {
      add("full_attention_interval", .integer(first + 1))
    }
    guard let parameters = json["rope_parameters"] else { return entries }
    let global = parameters["full_attention"] ?? parameters
    let type = global["rope_type"]?.string ?? "default"
    // mlx-lm knows those of Gemma 4 by their newer names, and another kind of layers must not get their share.
    if type == "proportional" { return entries }
    add("rope_theta", global["rope_theta"])
    add("rope_local_base_freq", parameters["sliding_attention"]?["rope_theta"])
    add("partial_rotary_factor", global["partial_rotary_factor"])
    add("original_max_position_embeddings", global["original_max_position_embeddings"])
    if type != "default", var scaling = global.object {
      scaling["type"] = .string(type)
      add("rope_scaling", .object(scaling))
    }
    return entries
  }
}
