import Collectives
import Diagnostics
import Models
import Tensors

/// Keeps the ranks of a run in step: sums their gradients and losses, and agrees on when to stop.
///
/// Gradients lie in one flat buffer in parameter order. Those of a few layers are exchanged as soon as the backward
/// pass has completed them. If every weight is trained, each rank keeps the optimizer state of its chunk of the
/// parameters only, updates these, and then sends the weights instead of the gradients: the same traffic, with one part
/// of the state per rank (ZeRO stage 1, arXiv:1910.02054).
package final class DataParallelism {
  let collective: any Collective
  /// Whether each rank keeps only a part of the optimizer state.
  let shardsOptimizerState: Bool

  let parameters: [Parameter]
  let backend: any Backend
  private let layout: GradientLayout
  private let gradients: Tensor
  private let gradientViews: [Tensor]
  private let weights: Tensor?
  private let thread = ExchangeThread()
  /// The number of buckets whose exchange has begun in this step.
  private var begun = 0

  /// Lays out the buffers. With a sharded optimizer state, the parameters' values move into a flat buffer too.
  ///
  /// Ranks whose processors round differently share the state of an adapter as well: each weight is then updated on one
  /// of them only, and stays the same on all.
  /// - Parameter rules: the update rule of each parameter.
  /// - Returns: `nil` for a single process.
  init?(
    _ collective: any Collective, parameters: [Parameter], trainsEveryWeight: Bool, rules: [any UpdateRule],
    on backend: any Backend
  ) throws(SwiftletError) {
    guard collective.size > 1 else { return nil }
    let kernels = backend.availableMemory == nil ? InstructionSet.current.rawValue : "gpu"
    let roundsDifferently = try collective.firstDifference(kernels) != nil
    self.collective = collective
    self.parameters = parameters
    self.backend = backend
    shardsOptimizerState = trainsEveryWeight || roundsDifferently
    let layout = GradientLayout(
      parameters, ranks: collective.size,
      isDivisible: shardsOptimizerState ? rules.map(\.isElementwise) : nil)
    self.layout = layout
    func views(of buffer: Tensor) -> [Tensor] {
      zip(parameters, layout.starts).map { parameter, start in
        buffer.elements(start..<start + parameter.value.count).reshaped(parameter.value.shape)
      }
    }
    gradients = backend.empty([layout.count], .float32)
    backend.clear(gradients)
    gradientViews = views(of: gradients)
    weights = shardsOptimizerState ? backend.empty([layout.count], .float32) : nil
    guard let weights else { return }
    backend.clear(weights)
    for (parameter, view) in zip(parameters, views(of: weights)) {
      backend.copy(parameter.value, to: view)
      parameter.value = view
    }
  }

  /// The elements of a parameter whose optimizer state a rank keeps, and which it updates.
  /// - Parameter rank: the rank; `nil` for this one.
  func elements(of index: Int, on rank: Int? = nil) -> Range<Int> {
    shardsOptimizerState
      ? layout.elements(of: index, ownedBy: rank ?? collective.rank) : 0..<parameters[index].value.count
  }

  /// The sums of these numbers over all ranks.
  func sum(_ numbers: [Double]) throws(SwiftletError) -> [Double] { try collective.sum(numbers) }

  // MARK: Gradients and weights

  /// Gives every parameter its part of the flat buffer as a gradient of zeros.
  func clearGradients() {
    backend.clear(gradients)
    for (parameter, view) in zip(parameters, gradientViews) { parameter.gradient = view }
    begun = 0
  }

  /// Begins to exchange the gradients that are complete now that the last backward pass of the step has passed a layer.
  /// All ranks exchange the same buckets in the same order.
  func passed(layer: Int) {
    // A device's memory is read by the thread that gives it work.
    guard backend.availableMemory == nil else { return }
    while begun < layout.buckets.count, let first = layout.buckets[begun].layer, first >= layer { beginExchange() }
  }

  private func beginExchange() {
    let bucket = layout.buckets[begun]
    begun += 1
    thread.start { [self] () throws(SwiftletError) in try sum(bucket) }
  }

  private func sum(_ bucket: GradientLayout.Bucket) throws(SwiftletError) {
    try onHost(gradients, bucket) { gradients, chunks throws(SwiftletError) in
      try collective.reduceScatter(gradients, chunks: chunks)
      if !shardsOptimizerState { try collective.allGather(gradients, chunks: chunks) }
    }
  }

  /// Sums the gradients over all ranks. With a sharded optimizer state, only those of the owned elements are complete.
  func sumGradients() throws(SwiftletError) {
    guard backend.availableMemory == nil else {
      for bucket in layout.buckets { try sum(bucket) }
      return
    }
    while begun < layout.buckets.count { beginExchange() }
    try thread.finish()
  }

  /// The sum of the squares of all gradients, after `sumGradients`.
  func sumOfSquaredGradients() throws(SwiftletError) -> Double {
    let views = gradientViews.indices.map { gradientViews[$0].elements(elements(of: $0)) }
    let own = backend.sumOfSquares(views.filter { $0.count > 0 })
    return shardsOptimizerState ? try collective.sum([own])[0] : own
  }

  /// Sends the weights that this rank has updated to all others.
  func gatherWeights() throws(SwiftletError) {
    guard let weights else { return }
    for bucket in layout.buckets {
      try onHost(weights, bucket) { weights, chunks throws(SwiftletError) in
        try collective.allGather(weights, chunks: chunks)
      }
    }
  }

  /// Calls `body` with a bucket's part of a flat buffer in host memory, and the chunks of that part.
  private func onHost(
    _ buffer: Tensor, _ bucket: GradientLayout.Bucket, _ body: (Tensor, ChunkLayout) throws(SwiftletError) -> Void
  ) throws(SwiftletError) {
    let chunks = bucket.chunks.moved(by: -bucket.elements.lowerBound)
    try onHost(buffer.elements(bucket.elements)) { part throws(SwiftletError) in try body(part, chunks) }
  }

  /// Calls `body` with a tensor in host memory, and copies what it changes back to the device that the tensor is on.
  func onHost(_ tensor: Tensor, _ body: (Tensor) throws(SwiftletError) -> Void) throws(SwiftletError) {
    guard backend.availableMemory != nil else { return try body(tensor) }
    let copy = CPUBackend.shared.empty(tensor.shape, tensor.type)
    backend.copy(tensor, to: copy)
    try body(copy)
    backend.copy(copy, to: tensor)
  }
}
