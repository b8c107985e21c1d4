import Checkpoints
import Diagnostics
import Essentials
import Tensors
import Tokenizers

extension CausalLM {
  /// Writes the model as one GGUF file for llama.cpp: weights, tokenizer and chat template. LoRA updates are merged
  /// into the written weights; only one tensor at a time is in memory.
  ///
  /// A model opened from a GGUF file keeps that file's header, and every tensor that training didn't change.
  ///
  /// - Parameters:
  ///   - type: the type to store matrices in. `nil` keeps each as it is stored; what GGUF can't hold, or an adapter
  ///     changed, becomes float16.
  ///   - name: `general.name`.
  ///   - progress: called with the number of bytes written so far and the total.
  /// - Returns: notes on when llama.cpp's answers will differ, one sentence each.
  /// - Throws: `SwiftletError` if llama.cpp can't run the model or the file can't be written.
  @discardableResult
  public func writeGGUF(
    to url: URL, type: GGUFType?, name: String, progress: @escaping (Int, Int) -> Void = { _, _ in }
  ) throws -> [String] {
    if transformer.sequenceHead != nil {
      throw SwiftletError.model(
        "a model with a classification head can't be exported as GGUF; use merge to save it for transformers",
        in: files.url.path)
    }
    try transformer.checkMergeable(files.url.path)
    if let gguf = files.gguf {
      try write(copying: gguf, to: url, type: type, progress)
      return []
    }
    let configuration = transformer.configuration
    var vocabulary = try GGUFVocabulary(
      tokenizer, size: configuration.vocabularySize, spaceModel: configuration.family.gguf?.spaceTokenizer ?? "llama")
    vocabulary.chatTemplate = chatTemplate?.source ?? vocabulary.chatTemplate
    vocabulary.eosID = endOfSequence?.id ?? vocabulary.eosID
    vocabulary.padID = padding?.id ?? vocabulary.padID
    let modelName = configuration.family.gguf?.modelName(name, vocabulary.model) ?? name
    let header = try GGUFHeader(configuration, name: modelName, path: files.url.path)
    var notes = header.notes
    if try !vocabulary.agrees(with: tokenizer) {
      notes.append("llama.cpp can't express this tokenizer's rules and will split some texts differently")
    }
    var metadata = header.metadata
    if let type = type ?? commonType { metadata["general.file_type"] = .uint32(type.fileType) }
    for entry in vocabulary.entries { metadata[entry.key] = entry.value }
    var tensors = configuration.ropeTensors.map { name, factors in
      TensorSource(name: name, tensor: transformer.backend.tensor(factors, [factors.count]))
    }
    let merging = transformer.merging
    let experts = GGUFExperts(architecture: header.architecture, merging: merging, backend: transformer.backend)
    let entries = experts.entries(of: transformer.expertParameters)
    let parameters = transformer.parametersOutsideExperts + transformer.constants
    let names =
      parameters.flatMap { configuration.separateNames(of: $0.name) }
      .compactMap { header.architecture.tensorName(of: $0) } + entries.map(\.name)
    let mixture = type.map { GGUFMixture($0, names: names) }
    for parameter in parameters { tensors += try sources(of: parameter, header.architecture, mixture, merging) }
    tensors += entries.map { experts.source(of: $0, mixture) }
    try GGUFWriter.write(metadata: metadata, tensors: counted(tensors, progress), to: url)
    return notes
  }

  /// The GGUF type of the first linear layer, if `general.file_type` has a value for it.
  private var commonType: GGUFType? {
    let type = transformer.linearLayers.first?.weight.value.type
    return GGUFType.allCases.first { $0.elementType == type }
  }

  // MARK: Tensors

  /// A weight as llama.cpp expects it: merged, with its rows reordered and the norm offset added. What it has in several
  /// tensors is shared out among them.
  private func sources(
    of parameter: Parameter, _ architecture: GGUFArchitecture, _ mixture: GGUFMixture?,
    _ merging: [String: () -> Tensor?]
  ) throws -> [TensorSource] {
    let names = transformer.configuration.separateNames(of: parameter.name)
    if names == [parameter.name] {
      return [try source(of: parameter, architecture, mixture, merged: merging[parameter.name])]
    }
    let rows = parameter.value.rows / names.count
    let backend = transformer.backend
    return try names.enumerated().map { index, name in
      guard let ggufName = architecture.tensorName(of: name) else { throw missing(name, architecture) }
      let shape = [rows, parameter.value.columns]
      let merged = merging[parameter.name]
      let stored =
        mixture?.type(of: ggufName, shape: shape) ?? parameter.value.type.keptInGGUF(isChanged: merged != nil)
      return TensorSource(ggufName, stored, shape: shape, on: backend) {
        var tensor = merged?() ?? parameter.value
        if tensor.type.hasScales { tensor = backend.converted(tensor, to: .float32) }
        return tensor.rowShare(index, of: names.count)
      }
    }
  }

  private func missing(_ name: String, _ architecture: GGUFArchitecture) -> SwiftletError {
    SwiftletError.model("llama.cpp's \(architecture.name) has no tensor for \(name)", in: files.url.path)
  }

  private func source(
    of parameter: Parameter, _ architecture: GGUFArchitecture, _ mixture: GGUFMixture?, merged: (() -> Tensor?)?
  ) throws -> TensorSource {
    guard let name = architecture.tensorName(of: parameter.name) else { throw missing(parameter.name, architecture) }
    let backend = transformer.backend
    let shape = parameter.value.shape
    let normOffset = transformer.configuration.normOffset
    let offset = normOffset != 0 && transformer.offsetNorms.contains { $0 === parameter } ? normOffset : 0
    let columnOrder =
      shape.count == 2
      ? architecture.columnOrder(of: parameter.name, columns: shape[1], transformer.configuration, .toGGUF) : nil
    let isNegatedExponential = architecture.holdsNegatedExponential(of: parameter.name)
    let order = architecture.rowOrder(of: parameter.name, rows: shape.first ?? 0, transformer.configuration, .toGGUF)
    let kept = GGUFMixture.isRouter(name) ? .float32 : parameter.value.type.keptInGGUF(isChanged: merged != nil)
    let stored = mixture?.type(of: name, shape: shape) ?? kept
    // GGUF files have no dimensions of 1 inside.
    let storedShape = shape.count > 2 ? shape.filter { $0 != 1 } : shape
    return TensorSource(name, stored, shape: storedShape, on: backend) {
      var tensor = merged?() ?? parameter.value
      if offset != 0 { tensor = backend.tensor(backend.floats(tensor).map { $0 + offset }, shape) }
      if isNegatedExponential {
        tensor = backend.tensor(backend.floats(tensor).map { Float(-exp(Double($0))) }, shape)
      }
      if let columnOrder { tensor = backend.reorderedColumns(tensor, columnOrder) }
      guard let order else { return tensor.reshaped(storedShape) }
      // GGUF can't hold codes with scales apart anyway.
      if tensor.type.hasScales { tensor = backend.converted(tensor, to: .float32) }
      let matrix = shape.count == 1 ? tensor.reshaped([tensor.count, 1]) : tensor
      return backend.permutedRows(matrix, order).reshaped(storedShape)
    }
  }

  // MARK: From a GGUF file

  /// Copies header and tensors, except for the tensors that training changed.
  private func write(
    copying gguf: GGUFFile, to url: URL, type: GGUFType?, _ progress: @escaping (Int, Int) -> Void
  ) throws {
    var metadata = gguf.metadata
    if let type { metadata["general.file_type"] = .uint32(type.fileType) }
    if let chatTemplate { metadata["tokenizer.chat_template"] = .string(chatTemplate.source) }
    if let endOfSequence, endOfSequence != tokenizer.specialTokens.eos {
      metadata["tokenizer.ggml.eos_token_id"] = .uint32(UInt32(clamping: endOfSequence.id))
    }
    if let padding, padding != tokenizer.specialTokens.pad {
      metadata["tokenizer.ggml.padding_token_id"] = .uint32(UInt32(clamping: padding.id))
    }
    if files.extendedTokenizer != nil {
      let rows = transformer.configuration.vocabularySize
      for entry in try GGUFVocabulary(tokenizer, size: rows).entries
      where ["tokens", "token_type", "scores"].contains(where: { entry.key == "tokenizer.ggml.\($0)" }) {
        metadata[entry.key] = entry.value
      }
      if let name = transformer.configuration.family.gguf?.name, metadata["\(name).vocab_size"] != nil {
        metadata["\(name).vocab_size"] = .uint32(UInt32(clamping: rows))
      }
    }
    let head = "output.weight"
    // A tied head that an adapter replaced is not in the file.
    let isUntied = gguf.tensor(named: head) == nil && transformer.head !== transformer.embedding
    let names = gguf.tensorNames + (isUntied ? [head] : [])
    let mixture = type.map { GGUFMixture($0, names: Self.inLayerOrder(names)) }
    var sources: [String: TensorSource] = [:]
    if let architecture = transformer.configuration.family.gguf {
      let merging = transformer.merging
      let experts = GGUFExperts(architecture: architecture, merging: merging, backend: transformer.backend)
      for entry in experts.entries(of: transformer.expertParameters) where experts.isChanged(entry) {
        sources[entry.name] = experts.source(of: entry, mixture)
      }
      for parameter in transformer.parametersOutsideExperts
      where parameter.isTrainable || parameter.isReplaced || merging[parameter.name] != nil {
        let source = try source(of: parameter, architecture, mixture, merged: merging[parameter.name])
        sources[source.name] = source
      }
    }
    let tensors = names.compactMap { name -> TensorSource? in
      if let source = sources[name] { return source }
      guard let tensor = gguf.tensor(named: name) else { return nil }
      let stored = mixture?.type(of: name, shape: tensor.shape) ?? tensor.type
      return TensorSource(name, stored, shape: tensor.shape, on: transformer.backend) { tensor }
    }
    try GGUFWriter.write(metadata: metadata, tensors: counted(tensors, progress), to: url)
  }
}

extension CausalLM {
  /// Names of tensors by the number of their layer, which files don't always keep in order.
  private static func inLayerOrder(_ names: [String]) -> [String] {
    func layer(_ name: String) -> Int {
      let parts = name.split(separator: ".", maxSplits: 2)
      return parts.count > 1 && parts[0] == "blk" ? Int(parts[1]) ?? -1 : -1
    }
    return names.enumerated().sorted { (layer($0.element), $0.offset) < (layer($1.element), $1.offset) }.map(\.element)
  }
}

/// The same tensors, reporting how many bytes have been loaded so far and the total.
func counted(_ tensors: [TensorSource], _ progress: @escaping (Int, Int) -> Void) -> [TensorSource] {
  func byteCount(_ tensor: TensorSource) -> Int {
    tensor.shape.reduce(1, *) / tensor.type.blockLength * tensor.type.blockByteCount
  }
  let total = tensors.reduce(0) { $0 + byteCount($1) }
  var done = 0
  return tensors.map { tensor in
    TensorSource(name: tensor.name, type: tensor.type, shape: tensor.shape) {
      defer {
        done += byteCount(tensor)
        progress(done, total)
      }
      return try tensor.load()
    }
  }
}
