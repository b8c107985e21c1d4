import Diagnostics
import Tensors

/// What mixes the tokens of a sequence: attention, or something that carries a state from token to token.
protocol TokenMixer {
  /// The layers that LoRA updates can be added to.
  var linearLayers: [Linear] { get }
  /// The other parameters.
  var vectors: [Parameter] { get }
  /// What the mixer adds to the hidden states, given these after their norm: `[tokens, hidden]`.
  func forward(_ x: Variable, _ context: inout TokenContext, on tape: Tape) -> Variable
}

/// What is applied to each token by itself: a gated MLP, or a mixture of them.
protocol FeedForward {
  /// The layers that LoRA updates can be added to.
  var linearLayers: [Linear] { get }
  /// The matrices of experts that LoRA updates can be added to.
  var expertParameters: [ExpertParameter] { get }
  /// The other parameters.
  var others: [Parameter] { get }
  /// What it adds to the hidden states, given these after their norm: `[tokens, hidden]`.
  /// - Parameter loss: the auxiliary loss that a router adds to; `nil` for none.
  func forward(_ x: Variable, _ loss: RouterLoss?, on tape: Tape) -> Variable
}

extension FeedForward {
  var expertParameters: [ExpertParameter] { [] }
}

/// One layer: a token mixer, usually attention, and a gated MLP, each normed before, after or both, and added to the
/// hidden states.
final class TransformerLayer {
  private let configuration: TransformerConfiguration
  private let inputNorm: Parameter?
  private let mixer: any TokenMixer
  private let mixerOutputNorm: Parameter?
  private let mlpNorm: Parameter?
  private let mlp: any FeedForward
  private let mlpOutputNorm: Parameter?
  /// Whether later layers attend to its keys and values.
  let isShared: Bool
  private let perLayerInput: PerLayerInput?
  private let scalar: LayerScalar?

  init(_ index: Int, _ configuration: TransformerConfiguration, _ reader: WeightReader) throws(SwiftletError) {
    self.configuration = configuration
    let weights = LayerWeights(
      path: "\(configuration.modulePrefix)layers.\(index)", configuration: configuration, reader: reader)
    let (hasInputs, hasOutputs) = (configuration.hasInputNorms, configuration.hasOutputNorms)
    inputNorm = hasInputs ? try weights.norm("input_layernorm") : nil
    switch configuration.layers[index].mixer {
    case .attention: mixer = try Attention(layer: index, weights)
    case .shortConvolution(let length, let hasBias):
      mixer = try ShortConvolution(length: length, hasBias: hasBias, weights)
    case .gatedDelta(let shape, let length): mixer = try GatedDeltaNet(shape, length: length, weights)
    }
    mixerOutputNorm = hasOutputs ? try weights.norm("post_attention_layernorm") : nil
    mlpNorm =
      hasInputs ? try weights.norm(hasOutputs ? "pre_feedforward_layernorm" : "post_attention_layernorm") : nil
    if let experts = configuration.layers[index].experts {
      mlp = try MixtureOfExperts(experts, weights)
    } else {
      mlp = try GatedMLP(weights, intermediateSize: configuration.layers[index].intermediateSize)
    }
    mlpOutputNorm = hasOutputs ? try weights.norm("post_feedforward_layernorm") : nil
    isShared = configuration.isShared(layer: index)
    perLayerInput = configuration.perLayerInputSize > 0 ? try PerLayerInput(weights) : nil
    scalar = configuration.hasLayerScalars ? try LayerScalar(weights) : nil
  }

  var linearLayers: [Linear] { mixer.linearLayers + mlp.linearLayers + (perLayerInput?.linearLayers ?? []) }

  var expertParameters: [ExpertParameter] { mlp.expertParameters }

  /// What files have of the layer besides its parameters.
  var constants: [Parameter] { scalar.map { [$0.stored] } ?? [] }

  var parameters: [Parameter] {
    let norms = [mixerOutputNorm, mlpNorm, mlpOutputNorm, perLayerInput?.norm].compactMap { $0 }
    return (inputNorm.map { [$0] } ?? []) + linearLayers.flatMap(\.ownParameters) + mlp.others + mixer.vectors + norms
  }

  /// The weights of norms to which the configuration's offset is added.
  var offsetNorms: [Parameter] {
    [inputNorm, mixerOutputNorm, mlpNorm, mlpOutputNorm, perLayerInput?.norm].compactMap { $0 }
      + ((mixer as? Attention)?.normWeights ?? [])
  }

  /// The hidden states after this layer as two summands: the next norm adds the residual in the same pass.
  func forward(
    _ x: Variable, residual: Variable?, _ context: inout TokenContext, on tape: Tape
  ) -> (x: Variable, residual: Variable) {
    let (entry, normed) = norm(x, residual, inputNorm, tape)
    let attended = output(mixer.forward(normed, &context, on: tape), mixerOutputNorm, tape)
    let (middle, middleNormed) = norm(entry, attended, mlpNorm, tape)
    var (sum, last) = (middle, output(mlp.forward(middleNormed, context.routerLoss, on: tape), mlpOutputNorm, tape))
    if let perLayerInput, let input = context.perLayerInput {
      sum = tape.add(sum, last)
      last = norm(perLayerInput.forward(sum, input, on: tape), nil, perLayerInput.norm, tape).out
    }
    let factor = scalar?.value ?? 1
    return (tape.scaled(sum, by: factor), tape.scaled(last, by: factor))
  }

  /// x + residual, and the same after the norm, if there is one.
  private func norm(
    _ x: Variable, _ residual: Variable?, _ weight: Parameter?, _ tape: Tape
  ) -> (sum: Variable, out: Variable) {
    guard let weight else {
      let sum = residual.map { tape.add(x, $0) } ?? x
      return (sum, sum)
    }
    return tape.rmsNorm(
      x, residual: residual, weight: weight, offset: configuration.normOffset, epsilon: configuration.normEpsilon)
  }

  /// What half a layer adds to the hidden states.
  private func output(_ x: Variable, _ weight: Parameter?, _ tape: Tape) -> Variable {
    tape.scaled(norm(x, nil, weight, tape).out, by: configuration.residualScale)
  }
}

extension Linear {
  /// The weight, and the bias if there is one.
  var ownParameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }
}

/// What a layer needs to know about the tokens it is given.
struct TokenContext {
  /// `nil` in layers without positions.
  let angles: RotaryAngles?
  let past: Past
  /// What the layer is given of each token besides the hidden states: `[tokens, per-layer input size]`.
  var perLayerInput: Variable?
  /// The rotated keys and the values of an earlier layer for one that has none; after a layer that shares its own, these.
  var keysAndValues: Variable?
  /// What the layer's router adds to when training; `nil` for nothing.
  var routerLoss: RouterLoss?

  /// One of several batches whose rows follow one another.
  struct Part {
    let rows: Range<Int>
    /// ``TokenBatch/sequenceStarts``, counted from the first row of this part.
    let starts: [Int]

    /// The starts of all sequences, counted from the first row. Only a single part may share a prefix.
    static func joinedStarts(_ parts: [Part]) -> [Int] {
      guard parts.count > 1 else { return parts.first?.starts ?? [0] }
      return parts.reduce(into: [0]) { joined, part in
        joined += part.starts.dropFirst().map { $0 + part.rows.lowerBound }
      }
    }
  }

  /// What tokens see besides themselves.
  enum Past {
    /// When training: earlier tokens of their sequence.
    case batch([Part])
    /// When generating: everything before them in their sequence, which is in its cache.
    case cache(CachedSequences, layer: Int)
  }
}

/// Reads the weights of one layer under transformers' names.
struct LayerWeights {
  let path: String
  let configuration: TransformerConfiguration
  let reader: WeightReader

  func norm(_ name: String, _ count: Int? = nil) throws(SwiftletError) -> Parameter {
    try vector("\(name).weight", [count ?? configuration.hiddenSize])
  }

  func linear(_ name: String, _ outputs: Int, _ inputs: Int, bias: Bool = false) throws(SwiftletError) -> Linear {
    try reader.linear("\(path).\(configuration.moduleNames[name] ?? name)", outputs, inputs, bias: bias)
  }

  /// A linear layer that stays as stored, whatever the quantization.
  func unquantizedLinear(
    _ name: String, _ outputs: Int, _ inputs: Int, bias: Bool
  ) throws(SwiftletError) -> Linear {
    let path = "\(path).\(configuration.moduleNames[name] ?? name)"
    return Linear(
      path: path, weight: try reader.matrix("\(path).weight", [outputs, inputs]),
      bias: bias ? try reader.vector("\(path).bias", outputs) : nil)
  }

  /// A small parameter, in float32. `name` includes that of its module.
  func vector(_ name: String, _ shape: [Int]) throws(SwiftletError) -> Parameter {
    let parts = name.split(separator: ".").map(String.init)
    let module = parts.dropLast().joined(separator: ".")
    let names = [path, configuration.moduleNames[module] ?? module] + parts.suffix(1)
    return try reader.vector(names.joined(separator: "."), shape)
  }
}
