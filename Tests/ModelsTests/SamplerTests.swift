import Foundation
import Models
import OrderedJSON
import Testing

/// Which tokens can be sampled, and their probabilities; see Tests/Goldens/sampling/make_goldens.py.
@Suite struct SamplerTests {
  static func options(_ settings: JSONValue?) -> SamplingConfiguration {
    var options = SamplingConfiguration()
    options.temperature = settings?["temperature"]?.float ?? 0
    options.topK = settings?["top_k"]?.integer ?? 0
    options.topP = settings?["top_p"]?.float ?? 1
    options.minP = settings?["min_p"]?.float ?? 0
    options.repetitionPenalty = settings?["repetition_penalty"]?.float ?? 1
    return options
  }

  @Test func distributionsAreThoseOfTransformers() throws {
    let golden = try Goldens.json("sampling/goldens.json")
    let logits = try #require(golden["logits"]?.floats)
    let said = try #require(golden["said"]?.ids)
    let cases = try #require(golden["cases"]?.array)
    #expect(cases.count > 10)
    for item in cases {
      let sampler = Sampler(Self.options(item["settings"]), prompt: said)
      let found = sampler.distribution(logits).sorted { $0.id < $1.id }
      let expected = item["probabilities"]?.floats ?? []
      #expect(found.map(\.id) == item["ids"]?.ids, "\(item["settings"]?.text() ?? "")")
      for (ours, theirs) in zip(found, expected) {
        #expect(abs(ours.probability - Double(theirs)) < 2e-6 * Double(theirs), "\(item["settings"]?.text() ?? "")")
      }
    }
  }

  @Test(arguments: [0, 4]) func drawsFollowTheDistribution(topK: Int) throws {
    var options = SamplingConfiguration()
    options.temperature = 0.8
    options.topK = topK
    let logits: [Float] = [1, 0.5, 2, -1, 1.5, 0]
    var sampler = Sampler(options, prompt: [])
    var counts = [Int](repeating: 0, count: logits.count)
    let draws = 20_000
    for _ in 0..<draws { counts[Int(sampler.sample(logits))] += 1 }
    let expected = Dictionary(uniqueKeysWithValues: sampler.distribution(logits).map { ($0.id, $0.probability) })
    for (id, count) in counts.enumerated() {
      // Four standard deviations of a frequency are at most 0.0142.
      #expect(abs(Double(count) / Double(draws) - (expected[Int32(id)] ?? 0)) < 0.0142)
    }
  }

  @Test func theSameSeedDrawsTheSame() {
    var options = SamplingConfiguration()
    options.temperature = 1
    let logits = (0..<100).map { Float($0 % 7) * 0.3 }
    func draws(_ seed: UInt64) -> [Int32] {
      options.seed = seed
      var sampler = Sampler(options, prompt: [])
      return (0..<50).map { _ in sampler.sample(logits) }
    }
    #expect(draws(1) == draws(1))
    #expect(draws(1) != draws(2))
  }

  @Test func greedyTakesTheFirstOfEqualLogits() {
    var sampler = Sampler(SamplingConfiguration(), prompt: [])
    #expect(sampler.sample([0, 3, 1, 3]) == 1)
  }

  @Test func repetitionPenaltyCountsSampledTokens() {
    var options = SamplingConfiguration()
    options.repetitionPenalty = 10
    var sampler = Sampler(options, prompt: [0])
    // 0 was in the prompt; each sampled token becomes less likely.
    #expect((0..<3).map { _ in sampler.sample([5, 4, 3, 2]) } == [1, 2, 3])
  }

  /// Each filter over a large vocabulary, against a sampler that sorts all of it.
  @Test(
    arguments: [(0, 1, 0), (50, 1, 0), (0, 0.9, 0), (0, 1, 0.05), (0, 0.99, 0), (200, 0.8, 0.01)]
      as [(Int, Float, Float)])
  func partialRankingMatchesAFullSort(topK: Int, topP: Float, minP: Float) {
    var random = RandomSource(seed: 3)
    for (scale, temperature) in [(0.0, 1), (1, 1), (8, 0.7), (200, 1.3)] as [(Float, Float)] {
      var logits = (0..<20_000).map { _ in (random.uniform() + random.uniform() - 1) * scale }
      logits[17] = logits[4711]
      logits[99] = -.infinity
      var options = SamplingConfiguration()
      (options.topK, options.topP, options.minP, options.temperature) = (topK, topP, minP, temperature)
      let expected = sortedDistribution(logits, options)
      let found = Sampler(options, prompt: []).distribution(logits)
      // The failure's message would list both.
      let isSame = found.map(\.id) == expected.map(\.id)
      #expect(isSame)
      #expect(zip(found, expected).allSatisfy { abs($0.probability - $1.probability) <= 1e-6 * $1.probability })
      // Without a filter, tokens are drawn in the order of their ids, which need no ranking.
      let isFiltered = topK > 0 || topP < 1 || minP > 0
      let order = isFiltered ? expected : expected.sorted { $0.id < $1.id }
      for seed in UInt64(0)..<40 {
        options.seed = seed
        var sampler = Sampler(options, prompt: [])
        let drawn = sampler.sample(logits)
        var source = RandomSource(seed: seed)
        var left = Double(source.uniform())
        let id = order.first { token in
          left -= token.probability
          return left < 1e-6
        }
        let isBoundary = abs(left) < 2e-6
        #expect(drawn == id?.id || isBoundary)
      }
    }
  }

  private func sortedDistribution(
    _ logits: [Float], _ options: SamplingConfiguration
  ) -> [(id: Int32, probability: Double)] {
    let scaled = logits.map { $0 / options.temperature }
    var order = logits.indices.sorted { scaled[$0] == scaled[$1] ? $0 < $1 : scaled[$0] > scaled[$1] }
    if options.topK > 0 { order = order.filter { scaled[$0] >= scaled[order[options.topK - 1]] } }
    let highest = scaled[order[0]]
    var tokens = order.map { (id: Int32($0), probability: Double(Foundation.exp(scaled[$0] - highest))) }
    if options.topP < 1 {
      let mass = Double(options.topP) * tokens.reduce(0) { $0 + $1.probability }
      var sum = 0.0
      let last = tokens.firstIndex { token in
        sum += token.probability
        return sum >= mass
      }
      tokens = Array(tokens.prefix((last ?? tokens.count) + 1))
    }
    if options.minP > 0 { tokens = tokens.filter { $0.probability >= Double(options.minP) } }
    let sum = tokens.reduce(0) { $0 + $1.probability }
    return tokens.map { ($0.id, $0.probability / sum) }
  }

  @Test func anExtremeTemperatureIsGreedy() {
    var options = SamplingConfiguration()
    options.temperature = 1e-38
    var sampler = Sampler(options, prompt: [])
    #expect(sampler.sample([0, 3, 30, 3]) == 2)
  }

  @Test func nonFiniteLogitsStillGiveAToken() {
    for temperature: Float in [0, 1] {
      var options = SamplingConfiguration()
      options.temperature = temperature
      var sampler = Sampler(options, prompt: [])
      #expect(sampler.sample([.nan, .nan, .nan]) == 0)
      #expect(sampler.sample([.nan, 3, 3]) == 1)
    }
  }
}
