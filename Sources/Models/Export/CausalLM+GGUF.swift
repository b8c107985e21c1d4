import Diagnostics
import Checkpoints
import Foundation
import Tensors
import Tokenizers

extension CausalLM {
  /// Writes the model as one GGUF file that llama.cpp loads: weights, tokenizer, chat template. Adapters on its layers
  /// are merged into what is written; one tensor at a time is in memory.
  ///
  /// A model that came from a GGUF file keeps that file's header, and its tensors as far as nothing changes them.
  ///
  /// - Parameters:
  ///   - type: what matrices become; `nil` leaves each as it is stored, and what a GGUF file cannot hold, or an adapter
  ///   changed, becomes float16.
  ///   - name: `general.name`.
  ///   - progress: told of the bytes written and of those there will be.
  /// - Returns: sentences on where llama.cpp's answers will differ, and when.
  /// - Throws: `SwiftletError` or `SwiftletError` for a model that llama.cpp cannot run, `SwiftletError` if the file
  ///   cannot be written.
  @discardableResult
  public func writeGGUF(
    to url: URL, type: GGUFType?, name: String, progress: @escaping (Int, Int) -> Void = { _, _ in }
  ) throws -> [String] {
    if let gguf = files.gguf {
      try write(copying: gguf, to: url, type: type, progress)
      return []
    }
    var vocabulary = try GGUFVocabulary(tokenizer, size: transformer.configuration.vocabularySize)
    vocabulary.chatTemplate = chatTemplate?.source ?? vocabulary.chatTemplate
    let header = try GGUFHeader(
      transformer.configuration, name: ggufName(name, vocabulary), path: files.url.path)
    var notes = header.notes
    if try !vocabulary.agrees(with: tokenizer) {
      notes.append("llama.cpp has no like of this tokenizer's rules: it will split some texts into other tokens")
    }
    var metadata = header.metadata
    if let type = type ?? commonType { metadata["general.file_type"] = .uint32(type.fileType) }
    for entry in vocabulary.entries { metadata[entry.key] = entry.value }
    var tensors = transformer.configuration.ropeTensors.map { name, factors in
      TensorSource(name: name, tensor: transformer.backend.tensor(factors, [factors.count]))
    }
    for parameter in transformer.parameters { tensors.append(try source(of: parameter, header.naming, type)) }
    try GGUFWriter.write(metadata: metadata, tensors: counted(tensors, progress), to: url)
    return notes
  }

  /// llama.cpp lets Phi-3's tokens take the white space behind them by the model's name alone.
  private func ggufName(_ name: String, _ vocabulary: GGUFVocabulary) -> String {
    let lowered = name.lowercased()
    let needsName = transformer.configuration.modelType == "phi3" && vocabulary.model == "llama"
    return needsName && !lowered.contains("phi-3") && !lowered.contains("phi3") ? "Phi-3 \(name)" : name
  }

  /// The type of most of the weights, where it is one that files can be named after.
  private var commonType: GGUFType? {
    let type = transformer.linearLayers.first?.weight.value.type
    return GGUFType.allCases.first { $0.elementType == type }
  }

  // MARK: Tensors

  /// A weight as llama.cpp wants it: merged, its rows in order, Gemma's norms with the 1 that they leave out.
  private func source(of parameter: Parameter, _ naming: GGUFNaming, _ type: GGUFType?) throws -> TensorSource {
    guard let name = naming.ggufName(of: parameter.name) else {
      throw SwiftletError.model(
        "\(files.url.path): llama.cpp's \(naming.architecture) has no place for \(parameter.name)")
    }
    let backend = transformer.backend
    let linear = transformer.linearLayers.first { $0.weight === parameter }
    let shape = parameter.value.shape
    let offset = name.hasSuffix("_norm.weight") ? transformer.configuration.normOffset : 0
    let order = naming.rowOrder(of: parameter.name, rows: shape.first ?? 0, transformer.configuration, .toGGUF)
    let stored =
      type?.type(of: name, shape: shape, isHead: parameter === transformer.head)
      ?? keptType(parameter.value.type, isChanged: linear?.lora != nil)
    return TensorSource(name, stored, shape: shape, on: backend) {
      var tensor = linear?.mergedWeight(on: backend) ?? parameter.value
      if offset != 0 { tensor = backend.tensor(backend.floats(tensor).map { $0 + offset }, shape) }
      guard let order else { return tensor }
      // 4-bit codes cannot be cut into rows, and no GGUF file can hold them anyway.
      if tensor.type.isFourBitCode { tensor = backend.converted(tensor, to: .float32) }
      let matrix = shape.count == 1 ? tensor.reshaped([tensor.count, 1]) : tensor
      return backend.permutedRows(matrix, order).reshaped(shape)
    }
  }

  /// What a tensor is stored as where no type is asked for.
  private func keptType(_ type: ElementType, isChanged: Bool) -> ElementType {
    type.isSupportedByGGUF && (type.isFloat || !isChanged) ? type : .float16
  }

  // MARK: From a GGUF file

  /// Copies header and tensors; those that training changed come from the transformer.
  private func write(
    copying gguf: GGUFFile, to url: URL, type: GGUFType?, _ progress: @escaping (Int, Int) -> Void
  ) throws {
    var metadata = gguf.metadata
    if let type { metadata["general.file_type"] = .uint32(type.fileType) }
    if let chatTemplate { metadata["tokenizer.chat_template"] = .string(chatTemplate.source) }
    let naming = GGUFNaming(architecture: metadata["general.architecture"]?.string ?? "")
    let changed = Set(transformer.linearLayers.filter { $0.lora != nil }.map(\.weight.name))
    var sources: [String: TensorSource] = [:]
    for parameter in transformer.parameters where parameter.isTrainable || changed.contains(parameter.name) {
      let source = try source(of: parameter, naming, type)
      sources[source.name] = source
    }
    let hasHead = gguf.tensor(named: "output.weight") != nil
    let tensors = gguf.tensorNames.compactMap { name -> TensorSource? in
      if let source = sources[name] { return source }
      guard let tensor = gguf.tensor(named: name) else { return nil }
      let isHead = name == (hasHead ? "output.weight" : "token_embd.weight")
      let stored = type?.type(of: name, shape: tensor.shape, isHead: isHead) ?? tensor.type
      return TensorSource(name, stored, shape: tensor.shape, on: transformer.backend) { tensor }
    }
    try GGUFWriter.write(metadata: metadata, tensors: counted(tensors, progress), to: url)
  }
}

/// The same tensors, which report how many bytes have been asked for so far.
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
