import Diagnostics
import Tensors

/// The decoder-only transformer that implements every family: an embedding, layers of attention and gated MLP, each
/// behind an RMS norm, a final norm and a head.
///
/// Not `Sendable`: training and adapters change it in place. Use it from one thread or actor at a time.
public final class Transformer {
  /// The sizes and switches that its family set.
  public let configuration: TransformerConfiguration
  /// The backend that computes it.
  public let backend: any Backend
  /// The token embedding, `[vocabulary, hidden]`.
  public let embedding: Parameter
  /// The weight of the language model head, `[vocabulary, hidden]`; the same parameter as `embedding` if they are tied.
  public internal(set) var head: Parameter
  /// The head that scores whole sequences, of a sequence classifier or reward model; `nil` for a language model.
  public internal(set) var sequenceHead: SequenceHead?
  let layers: [TransformerLayer]
  let finalNorm: Parameter
  private let perLayerEmbedding: PerLayerEmbedding?

  /// Reads the weights of `files`. If the files hold no weights, only shapes are known and nothing may be computed.
  /// - Parameters:
  ///   - inFloat32: whether to convert all weights to float32, for training every weight. By default they keep the type
  ///     they are stored in.
  ///   - quantization: how to quantize linear layers that are stored as floats. Ignored with `inFloat32`.
  ///   - progress: called after each layer with the number of layers read so far and the total.
  /// - Throws: `SwiftletError` if a tensor is missing or its shape contradicts the configuration.
  public init(
    _ files: ModelFiles, on backend: any Backend = CPUBackend.shared, inFloat32: Bool = false,
    quantization: QuantizationConfiguration? = nil, progress: (Int, Int) -> Void = { _, _ in }
  ) throws(SwiftletError) {
    let configuration = files.configuration
    let reader = WeightReader(
      files: files, backend: backend, inFloat32: inFloat32, quantization: inFloat32 ? nil : quantization)
    self.configuration = configuration
    self.backend = backend
    let prefix = configuration.modulePrefix
    let shape = [configuration.vocabularySize, configuration.hiddenSize]
    embedding = try reader.matrix("\(prefix)embed_tokens.weight", shape, addedRows: files.addedRows)
    head =
      configuration.tiesEmbeddings
      ? embedding : try reader.linearWeight("lm_head", shape, addedRows: files.addedRows)
    finalNorm = try reader.vector(
      "\(prefix)\(configuration.moduleNames["norm"] ?? "norm").weight", configuration.hiddenSize)
    perLayerEmbedding = configuration.perLayerInputSize > 0 ? try PerLayerEmbedding(configuration, reader) : nil
    var layers: [TransformerLayer] = []
    for index in configuration.layers.indices {
      layers.append(try TransformerLayer(index, configuration, reader))
      progress(index + 1, configuration.layers.count)
    }
    self.layers = layers
    sequenceHead = try reader.sequenceHead()
    for table in lookupTables { table.value.expectScatteredReads() }
  }

  /// The linear layers but the head, in order: those that LoRA updates can be added to.
  public var linearLayers: [Linear] { (perLayerEmbedding?.linearLayers ?? []) + layers.flatMap(\.linearLayers) }

  /// The matrices of experts that LoRA updates can be added to.
  package var expertParameters: [ExpertParameter] { layers.flatMap(\.expertParameters) }

  /// The layers of all experts.
  var expertLayers: [Linear] { expertParameters.flatMap { $0.experts.joined() } }

  /// The parameters but those of experts, which files have in stacks.
  var parametersOutsideExperts: [Parameter] {
    let names = Set(expertLayers.flatMap(\.ownParameters).map(\.name))
    return parameters.filter { !names.contains($0.name) }
  }

  /// What files hold besides the parameters, under its name.
  var constants: [Parameter] { layers.flatMap(\.constants) }

  /// The distinct names of the linear layers, as in `target_modules`, for messages.
  package var linearLayerNames: String { Set(linearLayers.map(\.name)).sorted().joined(separator: ", ") }

  /// All weights in module order. The head is listed only if it isn't tied to the embedding. A sequence head takes its
  /// place.
  public var parameters: [Parameter] {
    let heads = sequenceHead.map { [$0.weight] } ?? (head === embedding ? [] : [head])
    let perLayer = perLayerEmbedding?.parameters ?? []
    return [embedding] + perLayer + layers.flatMap(\.parameters) + [finalNorm] + heads
  }

  /// The weights of which a pass reads only the rows of its tokens, unless they are trained.
  package var lookupTables: [Parameter] {
    let isHead = head === embedding && sequenceHead == nil
    return (isHead ? [] : [embedding]) + (perLayerEmbedding.map { [$0.table] } ?? [])
  }

  /// The weights of norms to which the configuration's offset is added.
  var offsetNorms: [Parameter] { layers.flatMap(\.offsetNorms) + [finalNorm] }

  /// Whether sequences that start with the same tokens also start with the same hidden states, whatever their lengths.
  public var canSharePrefix: Bool { !configuration.layers.contains { $0.rotary?.dependsOnLength == true } }

  // MARK: Forward

  /// The hidden states after the final norm, times the scale of the logits: `[tokens, hidden]`.
  ///
  /// - Parameters:
  ///   - checkpointed: indices of the layers whose activations are recomputed in the backward pass instead of kept.
  ///   - noise: noise to add to the embeddings.
  ///   - routerLoss: an auxiliary loss that the routers of all layers add to, for these rows.
  public func hiddenStates(
    _ batch: TokenBatch, on tape: Tape, checkpointed: Set<Int> = [], noise: NEFTuneNoise? = nil,
    routerLoss: RouterLoss? = nil
  ) -> Variable {
    hiddenStates([batch], on: tape, checkpointed: checkpointed, noise: noise, routerLoss: routerLoss)
  }

  /// The same for several batches at once, whose rows follow one another; each may share a prefix of its own.
  package func hiddenStates(
    _ batches: [TokenBatch], on tape: Tape, checkpointed: Set<Int> = [], noise: NEFTuneNoise? = nil,
    routerLoss: RouterLoss? = nil
  ) -> Variable {
    var parts: [TokenContext.Part] = []
    var segments: [(tokens: Range<Int>, length: Int)] = []
    for batch in batches {
      let first = parts.last?.rows.upperBound ?? 0
      parts.append(TokenContext.Part(rows: first..<first + batch.ids.count, starts: batch.sequenceStarts))
      segments += batch.segments.map { ($0.tokens.lowerBound + first..<$0.tokens.upperBound + first, $0.length) }
    }
    let angles = angles(batches.flatMap(\.positions), segments: segments)
    var x = tape.embedding(batches.flatMap(\.ids), embedding, scale: configuration.embeddingScale)
    if let noise {
      let values = noise.values(lengths: batches.flatMap(\.lengths), hiddenSize: configuration.hiddenSize)
      backend.add(backend.tensor(values, x.value.shape), scale: 1, into: x.value)
    }
    let perLayerInputs = perLayerEmbedding?.inputs(batches.flatMap(\.ids), x, on: tape)
    var residual: Variable?
    var shared: [Int: Variable] = [:]
    for (index, layer) in layers.enumerated() {
      let source = configuration.layers[index].sharedLayer
      // What is checkpointed must name all of its inputs and outputs.
      let optional = [residual, perLayerInputs?[index], source.flatMap { shared[$0] }]
      let body = { (tape: Tape, inputs: [Variable]) -> [Variable] in
        var next = inputs.dropFirst().makeIterator()
        let given = optional.map { $0 == nil ? nil : next.next() }
        var context = TokenContext(
          angles: angles[index], past: .batch(parts), perLayerInput: given[1], keysAndValues: given[2],
          routerLoss: routerLoss)
        let (x, residual) = layer.forward(inputs[0], residual: given[0], &context, on: tape)
        return [x, residual] + (layer.isShared ? context.keysAndValues.map { [$0] } ?? [] : [])
      }
      tape.mark(index)
      let inputs = [x] + optional.compactMap { $0 }
      let outputs = checkpointed.contains(index) ? tape.checkpoint(inputs, body) : body(tape, inputs)
      x = outputs[0]
      residual = outputs[1]
      if outputs.count > 2 { shared[index] = outputs[2] }
    }
    return normed(x, residual, on: tape)
  }

  /// What layer `index` by itself makes of a batch's embeddings, for measuring how fast it trains. Set the gradients of all
  /// results before a backward pass.
  package func outputs(ofLayer index: Int, _ batch: TokenBatch, on tape: Tape) -> [Variable] {
    let embedded = tape.embedding(batch.ids, embedding, scale: configuration.embeddingScale).value
    func input(_ value: Tensor) -> Variable { Variable(value, requiresGradient: true) }
    var context = TokenContext(
      angles: angles(batch.positions, segments: batch.segments)[index],
      past: .batch([TokenContext.Part(rows: 0..<batch.ids.count, starts: batch.sequenceStarts)]))
    if configuration.perLayerInputSize > 0 {
      let zeros = backend.empty([batch.ids.count, configuration.perLayerInputSize], .float32)
      backend.clear(zeros)
      context.perLayerInput = input(zeros)
    }
    let (x, residual) = layers[index].forward(input(embedded), residual: input(embedded), &context, on: tape)
    return [x, residual]
  }

  /// Those of `linearLayers` that layer `index` has.
  package func linearLayers(ofLayer index: Int) -> [Linear] { layers[index].linearLayers }
  /// Those of `expertParameters` that layer `index` has.
  package func expertParameters(ofLayer index: Int) -> [ExpertParameter] { layers[index].expertParameters }

  /// New tokens of a sequence whose earlier tokens are in a cache.
  struct CachedStep {
    var ids: [Int32]
    let cache: KeyValueCache
    /// The length of the sequence including tokens that follow in later chunks of the same prompt.
    let length: Int
  }

  /// The hidden states of new tokens of several sequences, `[tokens, hidden]`. They are added to the sequences' caches.
  func hiddenStates(_ steps: [CachedStep]) -> Tensor {
    let tape = Tape(on: backend, isRecording: false)
    var positions: [Int32] = []
    var segments: [(tokens: Range<Int>, length: Int)] = []
    for step in steps {
      let first = positions.count
      positions += (step.cache.count..<step.cache.count + step.ids.count).map(Int32.init)
      segments.append((first..<positions.count, step.length))
      step.cache.reserve(step.ids.count)
    }
    let angles = angles(positions, segments: segments)
    let sequences = CachedSequences(parts: zip(steps, segments).map { ($0.cache, $1.tokens) })
    var x = tape.embedding(steps.flatMap(\.ids), embedding, scale: configuration.embeddingScale)
    let perLayerInputs = perLayerEmbedding?.inputs(steps.flatMap(\.ids), x, on: tape)
    var residual: Variable?
    var shared: [Int: Variable] = [:]
    for (index, layer) in layers.enumerated() {
      let source = configuration.layers[index].sharedLayer
      var context = TokenContext(
        angles: angles[index], past: .cache(sequences, layer: index), perLayerInput: perLayerInputs?[index],
        keysAndValues: source.flatMap { shared[$0] })
      (x, residual) = layer.forward(x, residual: residual, &context, on: tape)
      if layer.isShared { shared[index] = context.keysAndValues }
    }
    for step in steps {
      step.cache.ids += step.ids
      step.cache.rotatedLength = step.length
    }
    return normed(x, residual, on: tape).value
  }

  private func normed(_ x: Variable, _ residual: Variable?, on tape: Tape) -> Variable {
    // Scaled states give scaled logits.
    tape.scaled(
      tape.rmsNorm(
        x, residual: residual, weight: finalNorm, offset: configuration.normOffset, epsilon: configuration.normEpsilon
      ).out, by: configuration.logitScale)
  }

  /// The logits of hidden states `[rows, hidden]`: `[rows, vocabulary]`.
  public func logits(_ hidden: Tensor) -> Tensor {
    let logits = HeadProducts(head: head, backend: backend, precision: .float32).logits(hidden)
    if configuration.logitSoftcap > 0 { backend.softcap(logits, configuration.logitSoftcap) }
    return logits
  }

  /// The angles of each layer; layers with the same rotary embedding share them.
  private func angles(
    _ positions: [Int32], segments: [(tokens: Range<Int>, length: Int)]
  ) -> [RotaryAngles?] {
    var known: [RotaryConfiguration: RotaryAngles] = [:]
    return configuration.layers.map { layer in
      guard let rotary = layer.rotary else { return nil }
      if let angles = known[rotary] { return angles }
      let angles = rotary.angles(positions: positions, segments: segments, on: backend)
      known[rotary] = angles
      return angles
    }
  }
}
