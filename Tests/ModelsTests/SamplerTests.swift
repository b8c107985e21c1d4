import Models
import OrderedJSON
import Testing

/// Which tokens may be drawn and how likely each is: see Tests/Goldens/sampling/make_goldens.py.
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

  @Test func drawsFollowTheDistribution() throws {
    var options = SamplingConfiguration()
    options.temperature = 0.8
    options.topK = 4
    let logits: [Float] = [1, 0.5, 2, -1, 1.5, 0]
    var sampler = Sampler(options, prompt: [])
    var counts = [Int](repeating: 0, count: logits.count)
    let draws = 20_000
    for _ in 0..<draws { counts[Int(sampler.sample(logits))] += 1 }
    let expected = Dictionary(uniqueKeysWithValues: sampler.distribution(logits).map { ($0.id, $0.probability) })
    for (id, count) in counts.enumerated() {
      // Four standard deviations of a share are at most 0.0142.
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

  @Test func greedyTakesTheFirstOfTheLargest() {
    var sampler = Sampler(SamplingConfiguration(), prompt: [])
    #expect(sampler.sample([0, 3, 1, 3]) == 1)
  }

  @Test func repetitionCountsWhatWasDrawn() {
    var options = SamplingConfiguration()
    options.repetitionPenalty = 10
    var sampler = Sampler(options, prompt: [0])
    // 0 was in the prompt; each choice makes itself less likely.
    #expect((0..<3).map { _ in sampler.sample([5, 4, 3, 2]) } == [1, 2, 3])
  }
}
