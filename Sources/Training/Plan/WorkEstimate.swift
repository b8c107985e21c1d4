import Models
import Tensors

/// The floating-point operations that training needs; a multiply-add counts as two. Products that training skips don't
/// count.
struct WorkEstimate {
  /// Per token: forward, what recomputing a layer doesn't repeat of it, and backward.
  private let forward: Double
  private let unrepeated: Double
  private let backward: Double
  /// Per predicted token: the head, forward and backward.
  private let head: Double
  /// Per squared sequence length: attention, forward and backward.
  private let attentionForward: Double
  private let attentionBackward: Double
  private let layerCount: Int

  init(_ transformer: Transformer, trainsWeights: Bool) {
    self.init(
      transformer, layers: Array(transformer.configuration.layers.indices), linears: transformer.linearLayers,
      trainsWeights: trainsWeights)
  }

  /// The operations of one layer by itself; the head doesn't count.
  init(_ transformer: Transformer, layer: Int, trainsWeights: Bool) {
    self.init(
      transformer, layers: [layer], linears: transformer.linearLayers(ofLayer: layer), trainsWeights: trainsWeights)
  }

  private init(_ transformer: Transformer, layers: [Int], linears: [Linear], trainsWeights: Bool) {
    let configuration = transformer.configuration
    let weights = linears.reduce(0.0) { $0 + Double($1.weight.value.count) }
    let experts = layers.reduce(0.0) { sum, index in
      let experts = configuration.layers[index].experts
      return sum + (experts.map { Double(3 * $0.chosen * $0.intermediateSize * configuration.hiddenSize) } ?? 0)
    }
    func factors(_ layers: [Linear]) -> Double {
      layers.reduce(0) { sum, linear in
        sum + (linear.lora.map { Double($0.keptRanks * (linear.inputSize + linear.outputSize)) } ?? 0)
      }
    }
    let chosen = Double(configuration.layers.compactMap { $0.experts?.chosen }.max() ?? 0)
    let updates =
      factors(linears)
      + layers.flatMap(transformer.expertParameters(ofLayer:))
      .reduce(0) { $0 + chosen * factors($1.experts.first ?? []) }
    // Backward: always the input's gradient, and the weight's gradient if it is trained.
    forward = 2 * (weights + experts + updates)
    backward = 2 * (weights + experts) * (trainsWeights ? 2 : 1) + 4 * updates
    unrepeated = layers.reduce(0) { $0 + Self.unrepeated(transformer, layer: $1) }
    head = 2 * Double(transformer.activeHead.value.count) * (trainsWeights ? 3 : 2)
    layerCount = layers.count
    // Half of the scores are masked. Forward: scores and their sum of values; backward: the scores once more in each of
    // its two halves, and five products of their size.
    let columns = layers.reduce(0.0) { sum, index in
      let isAttention = configuration.layers[index].mixer == .attention
      return sum + (isAttention ? Double(configuration.attentionShape(layer: index).queryColumns) : 0)
    }
    attentionForward = 2 * columns
    attentionBackward = 7 * columns
  }

  /// The operations per token of a layer's last product, if its backward pass doesn't need the result.
  private static func unrepeated(_ transformer: Transformer, layer: Int) -> Double {
    let configuration = transformer.configuration
    guard !configuration.hasOutputNorms, configuration.perLayerInputSize == 0,
      configuration.layers[layer].experts == nil, let last = transformer.linearLayers(ofLayer: layer).last,
      last.lora?.magnitude == nil
    else { return 0 }
    return 2 * Double(last.weight.value.count + (last.lora?.keptRanks ?? 0) * last.outputSize)
  }

  /// The operations for batches of this size.
  func operations(_ size: Workload.Size, checkpointedLayers: Int) -> Double {
    let again = Double(checkpointedLayers) / Double(max(1, layerCount))
    return Double(size.tokens) * (forward + again * (forward - unrepeated) + backward) + Double(size.targets) * head
      + size.squares * (attentionForward * (1 + again) + attentionBackward)
  }
}
