import CKernels
import Essentials

/// Mixtures of experts.
extension CPUBackend {
  /// Each task routes a range of tokens. Their rows are sorted by counting, on the calling thread.
  public func route(_ logits: Tensor, chosen: Int, normalizes: Bool) -> ExpertRouting {
    let (tokenCount, expertCount) = (logits.rows, logits.columns)
    precondition(chosen <= expertCount, "a token can't go to more experts than there are")
    let probabilities = empty([tokenCount, expertCount])
    let (choices, shares) = (empty([tokenCount, chosen], .int32), empty([tokenCount, chosen]))
    pool.runRanges(tokenCount, grain: rowGrain(expertCount * (1 + chosen))) { range in
      for token in range {
        let row = probabilities.pointer(Float.self) + token * expertCount
        Self.softmax(logits.pointer(Float.self) + token * expertCount, expertCount, row)
        let best = UnsafeMutableBufferPointer(start: choices.pointer(Int32.self) + token * chosen, count: chosen)
        Self.chooseLargest(row, expertCount, best)
        let sum = normalizes ? best.reduce(0) { $0 + row[Int($1)] } : 1
        let weights: UnsafeMutablePointer<Float> = shares.pointer() + token * chosen
        for (number, expert) in best.enumerated() { weights[number] = row[Int(expert)] / sum }
      }
    }
    return sorted(probabilities, choices, shares, normalizes: normalizes)
  }

  private static func softmax(
    _ logits: UnsafeMutablePointer<Float>, _ count: Int, _ probabilities: UnsafeMutablePointer<Float>
  ) {
    let largest = UnsafeBufferPointer(start: logits, count: count).max() ?? 0
    var total: Float = 0
    for i in 0..<count {
      probabilities[i] = exp(logits[i] - largest)
      total += probabilities[i]
    }
    for i in 0..<count { probabilities[i] /= total }
  }

  /// Fills `best` with the indices of the largest elements in descending order; of equal ones, the first.
  private static func chooseLargest(
    _ row: UnsafeMutablePointer<Float>, _ count: Int, _ best: UnsafeMutableBufferPointer<Int32>
  ) {
    for number in best.indices {
      let earlier = best[..<number]
      var found = -1
      for index in 0..<count where found < 0 || row[index] > row[found] {
        if !earlier.contains(Int32(index)) { found = index }
      }
      best[number] = Int32(found)
    }
  }

  /// Sorts the rows of a routing, which are the elements of `choices` now, by expert.
  private func sorted(_ probabilities: Tensor, _ choices: Tensor, _ shares: Tensor, normalizes: Bool) -> ExpertRouting {
    let (count, chosen, expertCount) = (choices.count, choices.columns, probabilities.columns)
    let (tokens, experts, weights) = (empty([count], .int32), empty([count], .int32), empty([count]))
    let (ranking, places) = (empty(choices.shape, .int32), empty(choices.shape, .int32))
    let choice = choices.pointer(Int32.self)
    var starts = [Int](repeating: 0, count: expertCount + 1)
    for index in 0..<count { starts[Int(choice[index]) + 1] += 1 }
    for expert in 0..<expertCount { starts[expert + 1] += starts[expert] }
    var next = starts
    for index in 0..<count {
      let expert = Int(choice[index])
      let row = next[expert]
      next[expert] += 1
      tokens.pointer(Int32.self)[row] = Int32(index / chosen)
      experts.pointer(Int32.self)[row] = Int32(expert)
      weights.pointer(Float.self)[row] = shares.pointer(Float.self)[index]
      ranking.pointer(Int32.self)[index] = Int32(row)
    }
    for token in 0..<choices.rows {
      let range = token * chosen..<(token + 1) * chosen
      let rows = UnsafeBufferPointer(start: ranking.pointer(Int32.self), count: count)[range].sorted()
      for (index, row) in zip(range, rows) { places.pointer(Int32.self)[index] = row }
    }
    return ExpertRouting(
      chosen: chosen, normalizes: normalizes, probabilities: probabilities, tokens: tokens, experts: experts,
      weights: weights, ranking: ranking, places: places, groups: RowGroups(starts: starts))
  }

  /// Each task copies a range of rows.
  public func tokenRows(_ x: Tensor, _ routing: ExpertRouting) -> Tensor {
    gatherRows(x, Array(UnsafeBufferPointer(start: routing.tokens.pointer(Int32.self), count: routing.tokens.count)))
  }

  /// Each task adds the rows of a range of tokens.
  public func addExpertRows(_ rows: Tensor, _ routing: ExpertRouting, isWeighted: Bool, into: Tensor) {
    let (columns, chosen) = (into.columns, routing.chosen)
    let (source, target): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (rows.pointer(), into.pointer())
    let weights: UnsafeMutablePointer<Float> = routing.weights.pointer()
    let places = routing.places.pointer(Int32.self)
    pool.runRanges(into.rows, grain: rowGrain(columns * chosen)) { range in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: columns) { product in
        for token in range {
          for index in 0..<chosen {
            let row = Int(places[token * chosen + (isWeighted ? index : chosen - 1 - index)])
            let own = source + row * columns
            if isWeighted { ck_scale(product.baseAddress, own, weights[row], 0, columns) }
            ck_add(target + token * columns, isWeighted ? product.baseAddress : own, 1, 0, columns)
          }
        }
      }
    }
  }

  /// Each task computes a range of tokens.
  public func routingGradient(_ routing: ExpertRouting, dWeights: Tensor) -> Tensor {
    let (expertCount, chosen) = (routing.probabilities.columns, routing.chosen)
    let gradients = empty(routing.probabilities.shape)
    clear(gradients)
    let (weights, dWeights): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
      routing.weights.pointer(), dWeights.pointer()
    )
    pool.runRanges(gradients.rows, grain: rowGrain(expertCount + 4 * chosen)) { range in
      for token in range {
        let probabilities = routing.probabilities.pointer(Float.self) + token * expertCount
        let gradient = gradients.pointer(Float.self) + token * expertCount
        let rows = UnsafeBufferPointer(start: routing.ranking.pointer(Int32.self) + token * chosen, count: chosen)
        func expert(_ row: Int32) -> Int { Int(routing.experts.pointer(Int32.self)[Int(row)]) }
        // Through the division by their sum, then through the softmax.
        let total = routing.normalizes ? rows.reduce(0) { $0 + probabilities[expert($1)] } : 1
        let mean = routing.normalizes ? rows.reduce(0) { $0 + dWeights[Int($1)] * weights[Int($1)] } : 0
        var dot: Float = 0
        for row in rows {
          let d = (dWeights[Int(row)] - mean) / total
          gradient[expert(row)] = d
          dot += d * probabilities[expert(row)]
        }
        for i in 0..<expertCount { gradient[i] = probabilities[i] * (gradient[i] - dot) }
      }
    }
    return gradients
  }
}
