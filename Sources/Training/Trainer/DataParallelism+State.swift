import Collectives
import Diagnostics
import Tensors

// How checkpoints are written and read: rank 0 has the files, and every rank its part of the state.

extension DataParallelism {
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

  /// Gives the ranks their parts of a parameter's optimizer state.
  /// - Parameters:
  ///   - complete: on rank 0 the whole state, in host memory.
  ///   - own: the part that this rank keeps; empty if it keeps none.
  ///   - index: the number of the parameter.
  func distribute(_ complete: [Tensor], to own: [Tensor], of index: Int) throws(SwiftletError) {
    if collective.rank == 0 {
      for (whole, tensor) in zip(complete, own) {
        backend.copy(whole.elements(statePart(whole, of: index, on: 0)), to: tensor)
      }
    }
    guard shardsOptimizerState else {
      for tensor in own {
        try onHost(tensor) { tensor throws(SwiftletError) in try collective.broadcast(tensor, from: 0) }
      }
      return
    }
    for rank in 1..<collective.size where !elements(of: index, on: rank).isEmpty {
      if collective.rank == 0 {
        for whole in complete {
          try collective.copy(whole.elements(statePart(whole, of: index, on: rank)), from: 0, to: rank)
        }
      } else if collective.rank == rank {
        for tensor in own {
          try onHost(tensor) { tensor throws(SwiftletError) in try collective.copy(tensor, from: 0, to: rank) }
        }
      }
    }
  }

  /// Completes the optimizer state on rank 0, for a checkpoint. What others keep is collected in files in `folder`, not
  /// in memory.
  ///
  /// - Parameters:
  ///   - states: the state of each parameter that this rank keeps; empty for those of other ranks.
  ///   - stateLayout: describes the state of the parameter with a number.
  /// - Returns: the state of every parameter on rank 0; `states` on others.
  func completeState(
    _ states: [[Tensor]], in folder: String, _ stateLayout: (Int) -> [StateTensor]
  ) throws(SwiftletError) -> [[Tensor]] {
    guard shardsOptimizerState else { return states }
    var complete = states
    for index in parameters.indices {
      let owners = (0..<collective.size).filter { !elements(of: index, on: $0).isEmpty }
      if owners == [0] { continue }
      if collective.rank == 0 {
        complete[index] = []
        for part in stateLayout(index) {
          complete[index].append(try CPUBackend.shared.pagedZeros(part.shape, part.type, in: folder))
        }
      }
      for owner in owners { try collect(states[index], into: complete[index], of: index, from: owner) }
    }
    return complete
  }

  /// Copies the part of a state that the rank `owner` keeps into the whole state on rank 0.
  private func collect(
    _ own: [Tensor], into complete: [Tensor], of index: Int, from owner: Int
  ) throws(SwiftletError) {
    if collective.rank == 0 {
      for (number, whole) in complete.enumerated() {
        let part = whole.elements(statePart(whole, of: index, on: owner))
        if owner == 0 {
          backend.copy(own[number], to: part)
        } else {
          try collective.copy(part, from: owner, to: 0)
        }
      }
    } else if collective.rank == owner {
      for tensor in own {
        try onHost(tensor) { tensor throws(SwiftletError) in try collective.copy(tensor, from: owner, to: 0) }
      }
    }
  }

  /// The elements of a whole state tensor that a rank keeps: those of its part of the parameter, or the scales of the
  /// blocks in it.
  private func statePart(_ state: Tensor, of index: Int, on rank: Int) -> Range<Int> {
    let (part, count) = (elements(of: index, on: rank), parameters[index].value.count)
    if part.count == count { return 0..<state.count }
    if part.isEmpty { return 0..<0 }
    if state.count == count { return part }
    return part.lowerBound / Moment.blockLength..<(part.upperBound + Moment.blockLength - 1) / Moment.blockLength
  }
}
