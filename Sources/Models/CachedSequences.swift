import Tensors

/// New tokens of several sequences, joined end to end, and the cache of each one's earlier tokens.
struct CachedSequences {
  /// The cache of each sequence, and its rows among the joined tokens.
  let parts: [(cache: KeyValueCache, rows: Range<Int>)]

  /// Applies `body` to the rows of each sequence, and joins the results.
  func map(_ joined: Tensor, on backend: any Backend, _ body: (Tensor, KeyValueCache) -> Tensor) -> Tensor {
    if parts.count == 1 { return body(joined, parts[0].cache) }
    let results = parts.map { body(joined.rows($0.rows), $0.cache) }
    let all = backend.empty([joined.rows, results.first?.columns ?? 0], .float32)
    for (part, result) in zip(parts, results) {
      backend.copyRows(Columns(result), 0, to: Columns(all), part.rows.lowerBound, count: part.rows.count)
    }
    return all
  }
}
