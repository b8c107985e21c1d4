import Collectives
import Diagnostics
import Models
import Tensors

/// Keeps the ranks of a run in step: sums their gradients and losses, and agrees on when to stop.
///
/// Gradients are in one flat buffer in parameter order, so they are exchanged in one operation. If every weight is
/// trained, each rank keeps the optimizer state of one chunk of the parameters, updates these, and sends the weights
/// instead of the gradients: the same traffic, with the state divided among the ranks (ZeRO stage 1, arXiv:1910.02054).
package final class DataParallelism {
  let collective: any Collective
  /// The parameters whose optimizer state this rank keeps.
  let ownedParameters: Range<Int>
  /// Whether each rank keeps only a part of the optimizer state.
  let shardsOptimizerState: Bool

  private let parameters: [Parameter]
  private let backend: any Backend
  private let gradients: Tensor
  private let gradientViews: [Tensor]
  private let weights: Tensor?
  private let chunks: ChunkLayout
  private let owners: [Int]

  /// Kernels may read whole cache lines, so parameters start at multiples of this many floats.
  private static let alignment = 16

  /// Lays out the buffers. With a sharded optimizer state, the parameters' values move into a flat buffer too.
  ///
  /// Ranks whose processors round differently share the state of an adapter as well: each weight is then updated on one
  /// of them only, and stays the same on all.
  /// - Returns: `nil` for a single process.
  init?(
    _ collective: any Collective, parameters: [Parameter], trainsEveryWeight: Bool, on backend: any Backend
  ) throws(SwiftletError) {
    guard collective.size > 1 else { return nil }
    let kernels = backend.availableMemory == nil ? InstructionSet.current.rawValue : "gpu"
    let roundsDifferently = try collective.firstDifference(kernels) != nil
    let shardsOptimizerState = trainsEveryWeight || roundsDifferently
    self.collective = collective
    self.parameters = parameters
    self.backend = backend
    self.shardsOptimizerState = shardsOptimizerState
    var starts = [0]
    for parameter in parameters {
      let padded = (parameter.value.count + Self.alignment - 1) / Self.alignment * Self.alignment
      starts.append((starts.last ?? 0) + padded)
    }
    let count = starts.last ?? 0
    func views(of buffer: Tensor) -> [Tensor] {
      zip(parameters, starts).map { parameter, start in
        Tensor(
          type: .float32, shape: parameter.value.shape, storage: buffer.storage,
          byteOffset: buffer.byteOffset + 4 * start)
      }
    }
    gradients = backend.empty([count], .float32)
    backend.clear(gradients)
    gradientViews = views(of: gradients)
    if shardsOptimizerState {
      let buffer = backend.empty([count], .float32)
      for (parameter, view) in zip(parameters, views(of: buffer)) {
        backend.copy(parameter.value, to: view)
        parameter.value = view
      }
      weights = buffer
      let owners = Self.owners(of: starts, ranks: collective.size)
      let boundaries = (0...collective.size).map { rank in owners.firstIndex { $0 >= rank } ?? parameters.count }
      ownedParameters = boundaries[collective.rank]..<boundaries[collective.rank + 1]
      chunks = ChunkLayout((0..<collective.size).map { starts[boundaries[$0]]..<starts[boundaries[$0 + 1]] })
      self.owners = owners
    } else {
      weights = nil
      owners = []
      ownedParameters = 0..<parameters.count
      chunks = ChunkLayout(count: count, ranks: collective.size)
    }
  }

  /// The rank that owns each parameter: the one whose equal share of the elements holds the parameter's middle.
  private static func owners(of starts: [Int], ranks: Int) -> [Int] {
    let total = max(1, starts.last ?? 1)
    return zip(starts, starts.dropFirst()).map { start, end in min(ranks - 1, (start + end) / 2 * ranks / total) }
  }

  /// The sums of these numbers over all ranks.
  func sum(_ numbers: [Double]) throws(SwiftletError) -> [Double] { try collective.sum(numbers) }

  /// Gives every parameter its part of the flat buffer as a gradient of zeros.
  func clearGradients() {
    backend.clear(gradients)
    for (parameter, view) in zip(parameters, gradientViews) { parameter.gradient = view }
  }

  /// Calls `body` with a tensor in host memory, and copies what it changes back to the device that the tensor is on.
  private func onHost(_ tensor: Tensor, _ body: (Tensor) throws(SwiftletError) -> Void) throws(SwiftletError) {
    guard backend.availableMemory != nil else { return try body(tensor) }
    let copy = CPUBackend.shared.empty(tensor.shape, tensor.type)
    backend.copy(tensor, to: copy)
    try body(copy)
    backend.copy(copy, to: tensor)
  }

  /// Sums the gradients over all ranks. With a sharded optimizer state, only those of the owned parameters are
  /// complete.
  func sumGradients() throws(SwiftletError) {
    try onHost(gradients) { gradients throws(SwiftletError) in
      try collective.reduceScatter(gradients, chunks: chunks)
      if !shardsOptimizerState { try collective.allGather(gradients, chunks: chunks) }
    }
  }

  /// The sum of the squares of all gradients, after `sumGradients`.
  func sumOfSquaredGradients() throws(SwiftletError) -> Double {
    let own = gradientViews[ownedParameters].reduce(0.0) { $0 + backend.sumOfSquares($1) }
    return shardsOptimizerState ? try collective.sum([own])[0] : own
  }

  /// Sends the weights that this rank has updated to all others.
  func gatherWeights() throws(SwiftletError) {
    guard let weights else { return }
    try onHost(weights) { weights throws(SwiftletError) in try collective.allGather(weights, chunks: chunks) }
  }

  // MARK: Checkpoints

  /// Sends the trained weights of rank 0 to all others.
  func broadcastWeights() throws(SwiftletError) {
    for parameter in parameters {
      try onHost(parameter.value) { value throws(SwiftletError) in try collective.broadcast(value, from: 0) }
    }
  }

  /// The number that rank 0 passes.
  func broadcast(_ number: Int) throws(SwiftletError) -> Int {
    Int(String(decoding: try collective.broadcast(Array(String(number).utf8), from: 0), as: UTF8.self)) ?? number
  }

  /// Sends the optimizer state of a parameter from rank 0 to the ranks that keep it.
  /// - Parameters:
  ///   - index: the number of the parameter.
  ///   - tensors: on rank 0 the state; on others where to put it, empty if they don't keep it.
  func sendState(of index: Int, _ tensors: [Tensor]) throws(SwiftletError) {
    for tensor in tensors {
      // On rank 0 it is part of a mapped file.
      if collective.rank == 0 {
        try sendState(of: index, tensor)
      } else {
        try onHost(tensor) { tensor throws(SwiftletError) in try sendState(of: index, tensor) }
      }
    }
  }

  private func sendState(of index: Int, _ tensor: Tensor) throws(SwiftletError) {
    if shardsOptimizerState {
      try collective.copy(tensor, from: 0, to: owners[index])
    } else {
      try collective.broadcast(tensor, from: 0)
    }
  }

  /// Completes the optimizer state on rank 0, for a checkpoint; it is kept in files in `folder`, not in memory.
  ///
  /// - Parameters:
  ///   - states: the state of each parameter; empty for those that other ranks own.
  ///   - layout: describes the state of a parameter.
  /// - Returns: the state of every parameter on rank 0; `states` on others.
  func completeState(
    _ states: [[Tensor]], in folder: String, _ layout: (Int) -> [StateTensor]
  ) throws(SwiftletError) -> [[Tensor]] {
    guard shardsOptimizerState else { return states }
    var complete = states
    for index in parameters.indices where owners[index] != 0 {
      if collective.rank == 0 {
        complete[index] = []
        for part in layout(index) {
          complete[index].append(try CPUBackend.shared.pagedZeros(part.shape, part.type, in: folder))
        }
      }
      guard collective.rank == 0 || collective.rank == owners[index] else { continue }
      for tensor in complete[index] {
        // On rank 0 it is in a file, in host memory.
        if collective.rank == 0 {
          try collective.copy(tensor, from: owners[index], to: 0)
        } else {
          try onHost(tensor) { copy throws(SwiftletError) in
            try collective.copy(copy, from: owners[index], to: 0)
          }
        }
      }
    }
    return complete
  }
}
