import Diagnostics
import Tensors

/// The transformer-only transformer that every family is: embedding, layers of attention and gated feed-forward with RMS
/// norms before them, a last norm and a head.
public final class Transformer {
  /// Its shape.
  public let configuration: TransformerConfiguration
  /// Where it computes.
  public let backend: any Backend
  /// `[vocabulary, hiddenSize]`
  public let embedding: Parameter
  /// `[vocabulary, hiddenSize]`; the embedding itself where the head is tied.
  public let head: Parameter
  let layers: [TransformerLayer]
  let lastNorm: Parameter

  /// Reads the weights of `files`. Where the files hold none, the transformer has its shape only and must not compute.
  /// - Parameters:
  ///   - widened: whether all weights become float32, for training every weight; otherwise they stay as stored.
  ///   - quantization: how linear layers that the files have as floats become 4-bit codes, one after the other.
  ///   - progress: told how many layers have been read, and of how many.
  /// - Throws: `SwiftletError` for a tensor that is missing or has another shape than the configuration says.
  public init(
    _ files: ModelFiles, on backend: any Backend = CPUBackend.shared, inFloat32: Bool = false,
    quantization: QuantizationConfiguration? = nil, progress: (Int, Int) -> Void = { _, _ in }
  ) throws(SwiftletError) {
    let configuration = files.configuration
    let reader = WeightReader(
      files: files, backend: backend, inFloat32: inFloat32, quantization: inFloat32 ? nil : quantization)
    self.configuration = configuration
    self.backend = backend
    let table = [configuration.vocabularySize, configuration.hiddenSize]
    embedding = try reader.matrix("model.embed_tokens.weight", table)
    head = configuration.tiesEmbeddings ? embedding : try reader.linearWeight("lm_head", table)
    lastNorm = try reader.vector("model.norm.weight", configuration.hiddenSize)
    var layers: [TransformerLayer] = []
    for index in configuration.layers.indices {
      layers.append(try TransformerLayer(index, configuration, reader))
      progress(index + 1, configuration.layers.count)
    }
    self.layers = layers
  }

  /// The linear layers inside the transformer's layers, in order: what adapters can sit on.
  public var linearLayers: [Linear] { layers.flatMap(\.linearLayers) }

  /// What these are called, as `target_modules` names them, for messages.
  package var linearLayerNames: String { Set(linearLayers.map(\.name)).sorted().joined(separator: ", ") }

  /// Every weight, in the order of the modules; the head only where it is not the embedding.
  public var parameters: [Parameter] {
    [embedding] + layers.flatMap(\.parameters) + [lastNorm] + (head === embedding ? [] : [head])
  }

  /// Whether tokens that begin several sequences have the same states in all of them, however long these are.
  public var canSharePrefix: Bool { !configuration.layers.contains { $0.rotary?.dependsOnLength == true } }

  /// The last hidden states, normed: `[tokens, hiddenSize]`.
  ///
  /// - Parameters:
  ///   - checkpointed: layers whose insides are computed again on the way back instead of kept.
  ///   - noise: what is added to the embeddings.
  public func hiddenStates(
    _ batch: TokenBatch, on tape: Tape, checkpointed: Set<Int> = [], noise: EmbeddingNoise? = nil
  ) -> Variable {
    let angles = angles(batch.positions, segments: batch.segments)
    var x = tape.embedding(batch.ids, embedding, scale: configuration.embeddingScale)
    if let noise {
      let values = noise.values(lengths: batch.lengths, hiddenSize: configuration.hiddenSize)
      backend.add(backend.tensor(values, x.value.shape), scale: 1, into: x.value)
    }
    var pending: Variable?
    for (index, layer) in layers.enumerated() {
      let body = { (tape: Tape, inputs: [Variable]) -> [Variable] in
        let (x, pending) = layer.forward(
          inputs[0], residual: inputs.count > 1 ? inputs[1] : nil, angles: angles[index], on: tape
        ) { qkv, shape in tape.attention(qkv, starts: batch.sequenceStarts, shape: shape) }
        return [x, pending]
      }
      let inputs = [x] + (pending.map { [$0] } ?? [])
      let outputs = checkpointed.contains(index) ? tape.checkpoint(inputs, body) : body(tape, inputs)
      x = outputs[0]
      pending = outputs[1]
    }
    return tape.norm(
      x, residual: pending, weight: lastNorm, offset: configuration.normOffset, epsilon: configuration.normEpsilon
    ).out
  }

  /// The last hidden states of new tokens of one sequence, whose earlier ones are in `cache`; they are added to it.
  ///
  /// - Parameter length: how long the sequence is with the tokens that follow in the same pass.
  func hiddenStates(_ ids: [Int32], cache: KeyValueCache, length: Int) -> Tensor {
    let tape = Tape(on: backend, isRecording: false)
    let positions = (cache.count..<cache.count + ids.count).map(Int32.init)
    let angles = angles(positions, segments: [(0..<ids.count, length)])
    cache.grow(by: ids.count)
    var x = tape.embedding(ids, embedding, scale: configuration.embeddingScale)
    var pending: Variable?
    for (index, layer) in layers.enumerated() {
      let (sum, output) = layer.forward(x, residual: pending, angles: angles[index], on: tape) { qkv, shape in
        Variable(cache.attend(qkv.value, layer: index, shape: shape))
      }
      x = sum
      pending = output
    }
    cache.ids += ids
    cache.rotatedLength = length
    return tape.norm(
      x, residual: pending, weight: lastNorm, offset: configuration.normOffset, epsilon: configuration.normEpsilon
    ).out.value
  }

  /// Logits of hidden states: `[rows, vocabulary]`.
  public func logits(_ hidden: Tensor) -> Tensor {
    let logits = backend.empty([hidden.rows, head.value.rows], .float32)
    let left = backend.leftOperand(Columns(hidden), transposed: false)
    backend.compute([Product([ProductTerm(left, head.value, transposed: true)], into: Columns(logits))])
    if configuration.logitSoftcap > 0 { backend.softcap(logits, configuration.logitSoftcap) }
    return logits
  }

  /// Angles for each layer; layers with the same positions share them.
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
