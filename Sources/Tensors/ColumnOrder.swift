/// An order of runs of as many columns each, such as heads, one after the other.
public struct ColumnOrder: Sendable, Hashable {
  /// For each run, the one to take.
  public let runs: [Int]
  /// The number of columns in a run.
  public let length: Int

  /// Creates an order; `runs` must be a permutation of 0, 1, ....
  public init(runs: [Int], length: Int) {
    precondition(runs.sorted() == Array(runs.indices) && length > 0, "an order has every run once")
    (self.runs, self.length) = (runs, length)
  }

  /// The order that undoes this one.
  public var inverse: ColumnOrder {
    ColumnOrder(runs: runs.indices.sorted { runs[$0] < runs[$1] }, length: length)
  }

  /// Whether tensors of a type can be reordered as they are stored.
  public func keepsBlocks(of type: ElementType) -> Bool { !type.hasScales && length % type.blockLength == 0 }

  /// The rows to take of a matrix of `rows` rows, seen as one with a run in each row.
  func rows(of rows: Int) -> [Int] {
    (0..<rows).flatMap { row in runs.map { row * runs.count + $0 } }
  }
}

extension Backend {
  /// A matrix with its columns in another order, in its own type, or in float32 if that has blocks that can't be kept.
  public func reorderedColumns(_ tensor: Tensor, _ order: ColumnOrder) -> Tensor {
    let matrix = order.keepsBlocks(of: tensor.type) ? tensor : converted(tensor, to: .float32)
    let runs = matrix.reshaped([matrix.rows * order.runs.count, order.length])
    return permutedRows(runs, order.rows(of: matrix.rows)).reshaped(matrix.shape)
  }
}

extension Tape {
  /// x with its columns in another order.
  func reorderedColumns(_ x: Variable, _ order: ColumnOrder) -> Variable {
    let (backend, recompute) = (backend, x.recompute)
    func reordered(_ tensor: Tensor, _ order: ColumnOrder) -> Tensor {
      let runs = tensor.reshaped([tensor.rows * order.runs.count, order.length])
      return backend.gatherRows(runs, order.rows(of: tensor.rows).map(Int32.init)).reshaped(tensor.shape)
    }
    let output = Variable(reordered(x.value, order), requiresGradient: x.requiresGradient) {
      reordered(recompute(), order)
    }
    if output.requiresGradient {
      let (slot, source) = (output.slot, x.slot)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        accumulate(reordered(upstream, order.inverse), into: source)
      }
    }
    return output
  }
}
