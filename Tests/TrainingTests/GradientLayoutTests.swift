import Tensors
import TestSupport
import Testing
import Training

/// How the gradients of a model are divided into buckets, and among ranks.
@Suite struct GradientLayoutTests {
  /// Parameters of a made-up model in the order of a transformer.
  private static func parameters(_ layers: Int, size: Int) -> [Parameter] {
    func parameter(_ name: String, _ count: Int) -> Parameter {
      Parameter(name: name, value: CPUBackend.shared.empty([count], .float32))
    }
    let inside = (0..<layers).flatMap { layer in
      [
        parameter("model.layers.\(layer).norm.weight", 100), parameter("model.layers.\(layer).proj.weight", size),
        parameter("model.layers.\(layer).odd.weight", 5003),
      ]
    }
    return [parameter("model.embed_tokens.weight", 3 * size)] + inside + [parameter("model.norm.weight", 100)]
  }

  private static func expectPartition(_ layout: GradientLayout, _ parameters: [Parameter], ranks: Int) {
    let ranges = layout.buckets.map(\.elements).sorted { $0.lowerBound < $1.lowerBound }
    #expect(ranges.first?.lowerBound == 0 && ranges.last?.upperBound == layout.count)
    for (range, next) in zip(ranges, ranges.dropFirst()) { #expect(range.upperBound == next.lowerBound) }
    for (index, parameter) in parameters.enumerated() {
      var end = 0
      for rank in 0..<ranks {
        let part = layout.elements(of: index, ownedBy: rank)
        if part.isEmpty { continue }
        #expect(part.lowerBound == end, "\(parameter.name)")
        end = part.upperBound
      }
      #expect(end == parameter.value.count, "\(parameter.name)")
    }
  }

  @Test(arguments: [2, 3, 7, 64]) func everyElementHasOneOwner(ranks: Int) {
    let parameters = Self.parameters(4, size: 300_000)
    let layout = GradientLayout(parameters, ranks: ranks, isDivisible: parameters.map { _ in true })
    Self.expectPartition(layout, parameters, ranks: ranks)
    for (index, parameter) in parameters.enumerated() {
      for rank in 0..<ranks {
        let part = layout.elements(of: index, ownedBy: rank)
        // Parts begin at blocks of 8-bit states, and are no smaller than tensors that have such states.
        #expect(part.isEmpty || part.lowerBound % 4096 == 0)
        #expect(part.isEmpty || part.count >= min(4096, parameter.value.count))
      }
    }
    let shares = (0..<ranks).map { rank in
      parameters.indices.reduce(0) { $0 + layout.elements(of: $1, ownedBy: rank).count }
    }
    let fair = layout.count / ranks
    #expect(shares.allSatisfy { abs($0 - fair) <= layout.buckets.count * 2 * 4096 }, "\(shares)")
  }

  @Test func indivisibleParametersStayWhole() {
    let parameters = Self.parameters(3, size: 300_000)
    let layout = GradientLayout(parameters, ranks: 3, isDivisible: parameters.map { _ in false })
    Self.expectPartition(layout, parameters, ranks: 3)
    for (index, parameter) in parameters.enumerated() {
      let counts = (0..<3).map { layout.elements(of: index, ownedBy: $0).count }
      #expect(counts.sorted() == [0, 0, parameter.value.count])
    }
  }

  @Test func bucketsFollowTheBackwardPass() {
    let parameters = Self.parameters(6, size: 700_000)
    let layout = GradientLayout(parameters, ranks: 2, isDivisible: nil)
    Self.expectPartition(layout, parameters, ranks: 2)
    // Two layers make a bucket; the embedding and the last norm come last.
    #expect(layout.buckets.map(\.layer) == [4, 2, 0, nil, nil])
    let sizes = layout.buckets[0].chunks.ranges.map(\.count)
    #expect(abs(sizes[0] - sizes[1]) <= 1)
  }

  @Test func parametersInAnotherOrderAreOneBucket() {
    let parameters = Array(Self.parameters(2, size: 2_000_000).reversed())
    #expect(GradientLayout(parameters, ranks: 2, isDivisible: nil).buckets.map(\.layer) == [nil])
  }
}
