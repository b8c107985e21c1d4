import Models
import Tensors

/// The floating-point operations that training needs; a multiply-add counts as two. Products that training skips don't
/// count.
struct WorkEstimate {
  /// Per token: forward and backward.
  private let forward: Double
  private let backward: Double
  /// Per predicted token: the head, forward and backward.
  private let head: Double
  /// Per squared sequence length: attention, forward and backward.
  private let attentionForward: Double
  private let attentionBackward: Double
  private let layerCount: Int

  init(_ transformer: Transformer, trainsWeights: Bool) {
    let configuration = transformer.configuration
    let weights = transformer.linearLayers.reduce(0.0) { $0 + Double($1.weight.value.count) }
    let factors = transformer.linearLayers.reduce(0.0) { sum, linear in
      sum + (linear.lora.map { Double($0.a.value.count + $0.b.value.count) } ?? 0)
    }
    // Backward: always the input's gradient, and the weight's gradient if it is trained.
    forward = 2 * (weights + factors)
    backward = 2 * weights * (trainsWeights ? 2 : 1) + 4 * factors
    head = 2 * Double(transformer.head.value.count) * (trainsWeights ? 3 : 2)
    layerCount = configuration.layers.count
    // Half of the scores are masked. Forward: two products, Q Kᵀ and P V. Backward: the scores again in each of its two
    // halves, and five more products of the same size.
    let columns = configuration.layers.indices.reduce(0.0) {
      $0 + Double(configuration.attentionShape(layer: $1).queryColumns)
    }
    attentionForward = 2 * columns
    attentionBackward = 7 * columns
  }

  /// The operations for batches of this size.
  func operations(_ size: Workload.Size, checkpointedLayers: Int) -> Double {
    let again = Double(checkpointedLayers) / Double(max(1, layerCount))
    return Double(size.tokens) * (forward * (1 + again) + backward) + Double(size.targets) * head
      + size.squares * (attentionForward * (1 + again) + attentionBackward)
  }
}
