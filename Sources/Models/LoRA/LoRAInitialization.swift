import Tensors

/// The matrices that an update begins with.
struct InitialFactors {
  /// A, `[rank, in]`
  let a: Tensor
  /// B, `[out, rank]`
  let b: Tensor
  /// Copies of A and B, if their product is to be subtracted from the update.
  var subtracted: LoRAUpdate.Factors?
}

extension LoRAConfiguration.Initialization {
  /// A and B for a layer.
  func factors(
    of layer: Linear, rank: Int, scale: Float, _ random: inout RandomSource, on backend: any Backend
  ) -> InitialFactors {
    if case .pissa(let iterations) = self {
      return InitialFactors(
        principalOf: layer.weight.value, rank: rank, scale: scale, iterations: iterations, &random, on: backend)
    }
    let (a, b) = values(rank: rank, inputSize: layer.inputSize, outputSize: layer.outputSize, &random)
    return InitialFactors(
      a: backend.tensor(a, [rank, layer.inputSize]), b: backend.tensor(b, [layer.outputSize, rank]))
  }

  /// The elements of new matrices A `[rank, inputSize]` and B `[outputSize, rank]` that don't depend on the layer's weight.
  /// - Parameter copies: the number of such matrices, one after the other; not with `orthogonal`.
  func values(
    rank: Int, copies: Int = 1, inputSize: Int, outputSize: Int, _ random: inout RandomSource
  ) -> (a: [Float], b: [Float]) {
    let bound = 1 / Float(inputSize).squareRoot()
    let (count, zero) = (copies * rank * inputSize, [Float](repeating: 0, count: copies * outputSize * rank))
    switch self {
    case .kaiming, .pissa: return ((0..<count).map { _ in (2 * random.uniform() - 1) * bound }, zero)
    case .gaussian: return ((0..<count).map { _ in random.normal() / Float(rank) }, zero)
    case .orthogonal:
      let basis = Self.orthonormalRows(rank, &random)
      // A's rows are combined from even rows of the basis and B's from odd ones, so B A is zero.
      let columns = Self.combined(stride(from: 0, to: rank, by: 2).map { basis[$0] }, count: inputSize, &random)
      let a = (0..<rank).flatMap { row in columns.map { $0[row] } }
      let rows = Self.combined(stride(from: 1, to: rank, by: 2).map { basis[$0] }, count: outputSize, &random)
      return (a, rows.flatMap { $0 })
    }
  }

  /// Random rows of length `size`, made orthonormal (Gram-Schmidt, twice for precision).
  private static func orthonormalRows(_ size: Int, _ random: inout RandomSource) -> [[Double]] {
    var rows: [[Double]] = []
    while rows.count < size {
      var row = (0..<size).map { _ in Double(random.normal()) }
      for _ in 0..<2 {
        for other in rows {
          let share = zip(row, other).reduce(0) { $0 + $1.0 * $1.1 }
          for index in row.indices { row[index] -= share * other[index] }
        }
      }
      let norm = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      if norm > 1e-6 { rows.append(row.map { $0 / norm }) }
    }
    return rows
  }

  /// `count` random combinations of the rows, divided by 10, as in PEFT.
  private static func combined(_ rows: [[Double]], count: Int, _ random: inout RandomSource) -> [[Float]] {
    (0..<count).map { _ in
      var sum = [Double](repeating: 0, count: rows.first?.count ?? 0)
      for row in rows {
        let factor = Double(random.normal()) / 10
        for index in sum.indices { sum[index] += factor * row[index] }
      }
      return sum.map(Float.init)
    }
  }
}
