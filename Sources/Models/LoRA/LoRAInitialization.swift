extension LoRAConfiguration.Initialization {
  /// The elements of new matrices A `[rank, inputSize]` and B `[outputSize, rank]`.
  func values(
    rank: Int, inputSize: Int, outputSize: Int, _ random: inout RandomSource
  ) -> (a: [Float], b: [Float]) {
    let bound = 1 / Float(inputSize).squareRoot()
    let zero = [Float](repeating: 0, count: outputSize * rank)
    switch self {
    case .kaiming: return ((0..<rank * inputSize).map { _ in (2 * random.uniform() - 1) * bound }, zero)
    case .gaussian: return ((0..<rank * inputSize).map { _ in random.normal() / Float(rank) }, zero)
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
