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
  ///     floats. `nil` to write floats only. Weights without an update that have this format already are copied.
  ///   - type: the float type of everything else, and of scales and biases.
  ///   - progress: called with the number of bytes written so far and the total.
  /// - Throws: `SwiftletError` if mlx-lm has another layout for the model, a weight can't be quantized or the folder can't be
  ///   written.
  public func writeMLX(
    to folder: URL, format: AffineFormat?, type: ElementType, progress: @escaping (Int, Int) -> Void = { _, _ in }
  ) throws {
    if let problem = mlxRefusal { throw SwiftletError.model(problem, in: files.url.path) }
    let backend = transformer.backend
    let experts = MLXExperts(
      format: format, type: type, merging: transformer.merging, backend: backend, path: files.url.path)
    try write(
      to: folder, type: type, format: "mlx", entries: (format.map(MLXQuantization.entries) ?? []) + expertEntries,
      progress,
      experts: experts.sources
    ) { parameter, linear in
      let isMatrix = linear != nil || parameter === transformer.embedding || parameter === transformer.head
      guard let format, isMatrix, parameter.value.columns % format.groupSize == 0 else { return nil }
      let name = files.fileName(of: parameter.name)
      let merged = linear?.mergedWeight(on: backend)
      if merged == nil, parameter.value.affineFormat == format { return TensorSource.mlx(name: name, parameter.value) }
      // Rounded first, as by mlx-lm; not what was merged in float32.
      let value = merged ?? backend.converted(parameter.value, to: type)
      guard let quantized = backend.quantized(value, to: format, scaleType: type) else {
        throw SwiftletError.model(
          "\(parameter.name) can't be quantized: it has a value that is not finite; check the adapter or download the file "
            + "again", in: files.url.path)
      }
      return TensorSource.mlx(name: name, quantized)
    }
  }

  private var mlxRefusal: String? {
    if transformer.sequenceHead != nil {
      return "a model with a classification head can't be written for MLX; use merge to save it for transformers"
    }
    if transformer.configuration.layers.contains(where: { $0.experts?.storage == .transposedStacks }) {
      return
        "experts of \(transformer.configuration.modelType) can't be written for MLX yet; use merge and mlx-lm's convert"
    }
    return nil
  }

  /// What mlx-lm's mixtures of experts look for in config.json, where transformers 5 has other names.
  private var expertEntries: [(String, JSONValue)] {
    guard let experts = transformer.configuration.layers.lazy.compactMap(\.experts).first else { return [] }
    let json = files.configurationJSON
    let base = json["rope_theta"] ?? json["rope_parameters"]?["rope_theta"]
    return [("num_experts", .integer(experts.count))] + (base.map { [("rope_theta", $0)] } ?? [])
  }
}
