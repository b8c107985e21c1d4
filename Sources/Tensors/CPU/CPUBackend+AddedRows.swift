extension CPUBackend {
  /// The matrix, followed by `count` rows that are each the mean of its rows: the expectation of what transformers'
  /// `resize_token_embeddings` adds, whose deviations from it are 3e-5 of those between tokens.
  ///
  /// The matrix keeps its type if numbers can be converted to it; other quantized types become float16.
  package func addingMeanRows(_ count: Int, to matrix: Tensor) -> Tensor {
    let type: ElementType =
      matrix.type.isConversionTarget ? matrix.type : matrix.type.isQuantized ? .float16 : .float32
    let stored = matrix.type == type ? matrix : converted(matrix, to: type)
    let added = converted(tensor(meanRow(of: stored), [1, stored.columns]), to: type)
    let result = empty([stored.rows + count, stored.columns], type)
    let to = result.storage.base + result.byteOffset
    to.copyMemory(from: stored.storage.base + stored.byteOffset, byteCount: stored.byteCount)
    for row in stored.rows..<stored.rows + count {
      (to + row * added.byteCount).copyMemory(from: added.storage.base + added.byteOffset, byteCount: added.byteCount)
    }
    return result
  }

  /// The mean of the rows. Sums of a few thousand rows are added in double precision.
  private func meanRow(of matrix: Tensor) -> [Float] {
    var sums = [Double](repeating: 0, count: matrix.columns)
    for first in stride(from: 0, to: matrix.rows, by: 4096) {
      let rows = Int32(first)..<Int32(min(first + 4096, matrix.rows))
      let partial = empty([matrix.columns], .float32)
      clear(partial)
      addColumnSums(Columns(gatherRows(matrix, Array(rows))), into: partial)
      for (column, value) in floats(partial).enumerated() { sums[column] += Double(value) }
    }
    return sums.map { Float($0 / Double(max(1, matrix.rows))) }
  }
}
