import Essentials

/// Which experts each token goes to, and with what weights: the most likely ones by a softmax of the router's logits.
public struct ExpertRouting: Sendable {
  /// The number of experts that a token goes to.
  public let chosen: Int
  /// `[tokens, experts]`: the softmax.
  let probabilities: [Float]
  /// `[tokens, chosen]`: the experts of each token, the most likely first.
  let experts: [Int]
  /// `[tokens, chosen]`: what the experts' outputs are multiplied by.
  let weights: [Float]
  private let expertCount: Int
  private let normalizes: Bool

  /// Routes tokens.
  /// - Parameters:
  ///   - logits: `[tokens, experts]`
  ///   - normalizes: whether the weights of a token add up to 1.
  public init(logits: [Float], experts expertCount: Int, chosen: Int, normalizes: Bool) {
    (self.chosen, self.expertCount, self.normalizes) = (chosen, expertCount, normalizes)
    var (probabilities, experts, weights): ([Float], [Int], [Float]) = (logits, [], [])
    for start in stride(from: 0, to: logits.count, by: expertCount) {
      let row = start..<start + expertCount
      let largest = logits[row].max() ?? 0
      var total: Float = 0
      for i in row {
        probabilities[i] = exp(logits[i] - largest)
        total += probabilities[i]
      }
      for i in row { probabilities[i] /= total }
      let best = Self.largest(chosen, of: probabilities[row])
      let sum = normalizes ? best.reduce(0) { $0 + probabilities[start + $1] } : 1
      experts += best
      weights += best.map { probabilities[start + $0] / sum }
    }
    (self.probabilities, self.experts, self.weights) = (probabilities, experts, weights)
  }

  /// The indices of the largest elements in descending order; of equal ones, the first.
  private static func largest(_ count: Int, of row: ArraySlice<Float>) -> [Int] {
    var best: [Int] = []
    for _ in 0..<count {
      guard var found = row.indices.first(where: { !best.contains($0) }) else { break }
      for index in row.indices where row[index] > row[found] && !best.contains(index) { found = index }
      best.append(found)
    }
    return best.map { $0 - row.startIndex }
  }

  /// The tokens that go to each expert, in order, with their places in `weights`.
  var places: [(tokens: [Int32], weights: [Int])] {
    var places = Array(repeating: (tokens: [Int32](), weights: [Int]()), count: expertCount)
    for (place, expert) in experts.enumerated() {
      places[expert].tokens.append(Int32(place / chosen))
      places[expert].weights.append(place)
    }
    return places
  }

  /// The gradient of the logits, given that of the weights.
  func backward(_ dWeights: [Float]) -> [Float] {
    var gradient = [Float](repeating: 0, count: probabilities.count)
    for token in 0..<experts.count / chosen {
      let places = token * chosen..<(token + 1) * chosen
      let start = token * expertCount
      // Through the division by their sum, then through the softmax.
      let total = normalizes ? places.reduce(0) { $0 + probabilities[start + experts[$1]] } : 1
      let mean = normalizes ? places.reduce(0) { $0 + dWeights[$1] * weights[$1] } : 0
      var dot: Float = 0
      for place in places {
        let d = (dWeights[place] - mean) / total
        gradient[start + experts[place]] = d
        dot += d * probabilities[start + experts[place]]
      }
      for i in start..<start + expertCount { gradient[i] = probabilities[i] * (gradient[i] - dot) }
    }
    return gradient
  }
}

extension Tape {
  /// A mixture of experts (Shazeer et al. 2017, arXiv:1701.06538): each token goes through the experts that the router
  /// prefers, and their outputs are added with the router's weights. An expert computes all of its tokens at once, and
  /// is not touched without any. The host chooses the experts, so it waits for the device once forward and, if the
  /// router's logits require a gradient, once backward.
  ///
  /// - Parameters:
  ///   - x: `[tokens, hidden]`
  ///   - logits: `[tokens, experts]`, the router's.
  ///   - weights: the parameters of an expert. If it is given no token, their gradient is zero, not missing: optimizers
  ///     then decay its moments, as they do those of one parameter that holds all experts.
  ///   - expert: what the expert of this number makes of its tokens.
  public func experts(
    _ x: Variable, logits: Variable, count: Int, chosen: Int, normalizes: Bool,
    weights: @escaping (Int) -> [Parameter] = { _ in [] }, _ expert: (Int, Variable) -> Variable
  ) -> Variable {
    let routing = ExpertRouting(
      logits: backend.floats(logits.value), experts: count, chosen: chosen, normalizes: normalizes)
    let sum = backend.empty(x.value.shape, .float32)
    backend.clear(sum)
    var parts: [(output: Variable, tokens: [Int32], weights: [Int])] = []
    let places = routing.places
    for (index, (tokens, shares)) in places.enumerated() where !tokens.isEmpty {
      let output = expert(index, rows(x, tokens))
      let weighted = backend.scaled(output.value, 1)
      backend.scaleRows(weighted, by: shares.map { routing.weights[$0] })
      backend.scatterAddRows(weighted, tokens, into: sum)
      parts.append((output, tokens, shares))
    }
    let idle = places.indices.filter { places[$0].tokens.isEmpty }
    let needsGradient = isRecording && (logits.requiresGradient || parts.contains { $0.output.requiresGradient })
    let result = Variable(sum, requiresGradient: needsGradient)
    if needsGradient {
      let (slot, source) = (result.slot, logits.slot)
      let kept = parts.map { (slot: $0.output.slot, value: $0.output.value, tokens: $0.tokens, weights: $0.weights) }
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        for weight in idle.flatMap(weights) where weight.isTrainable { _ = weight.gradient(on: backend) }
        var dots: [Tensor] = []
        for part in kept {
          let gradient = backend.gatherRows(upstream, part.tokens)
          if source.requiresGradient { dots.append(backend.rowDots(gradient, part.value)) }
          backend.scaleRows(gradient, by: part.weights.map { routing.weights[$0] })
          accumulate(gradient, into: part.slot)
        }
        guard source.requiresGradient else { return }
        var dWeights = [Float](repeating: 0, count: routing.weights.count)
        for (part, values) in zip(kept, backend.floats(dots)) {
          for (place, dot) in zip(part.weights, values) { dWeights[place] = dot }
        }
        accumulate(backend.tensor(routing.backward(dWeights), [upstream.rows, count]), into: source)
      }
    }
    return result
  }

  /// Rows of x, in this order.
  func rows(_ x: Variable, _ indices: [Int32]) -> Variable {
    let (recompute, backend) = (x.recompute, backend)
    let output = Variable(backend.gatherRows(x.value, indices), requiresGradient: x.requiresGradient) {
      backend.gatherRows(recompute(), indices)
    }
    if output.requiresGradient {
      let (slot, source, shape) = (output.slot, x.slot, x.value.shape)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        // Experts add to one gradient, one after the other.
        var gradient = source.take() ?? zeros(shape)
        if !gradient.isUniquelyOwned() { gradient = backend.scaled(gradient, 1) }
        backend.scatterAddRows(upstream, indices, into: gradient)
        source.gradient = gradient
      }
    }
    return output
  }

  private func zeros(_ shape: [Int]) -> Tensor {
    let zeros = backend.empty(shape, .float32)
    backend.clear(zeros)
    return zeros
  }
}
