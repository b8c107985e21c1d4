import Foundation
import TestSupport
import Testing
import Training

/// What ranks send and how long that takes, as `swiftlet plan --ranks` and Documentation/Cluster.md say.
@Suite struct ExchangeEstimateTests {
  private static let gigabit = Network(bitsPerSecond: 1e9)

  private static func exchange(
    ranks: Int, sendsWeights: Bool = false, backward: Double = 0
  ) -> ExchangeEstimate {
    ExchangeEstimate(
      floats: 10 << 20, inLayers: 8 << 20, sendsWeights: sendsWeights, ranks: ranks, network: gigabit,
      backward: backward)
  }

  @Test func theTrafficIsThatOfARing() {
    #expect(Self.exchange(ranks: 1).seconds == 0)
    #expect(Self.exchange(ranks: 2).bytes == 40 << 20)
    #expect(Self.exchange(ranks: 4).bytes == 60 << 20)
  }

  @Test func gradientsOfLayersAreSentDuringTheBackwardPass() {
    let whole = Self.exchange(ranks: 4)
    #expect(whole.exposed == whole.seconds)
    // What is outside the layers, and one of eight buckets, are sent afterwards.
    #expect(abs(Self.exchange(ranks: 4, backward: 100).exposed - 0.3 * whole.seconds) < 1e-9)
    #expect(abs(Self.exchange(ranks: 4, sendsWeights: true, backward: 100).exposed - 0.65 * whole.seconds) < 1e-9)
    let short = 0.1 * whole.seconds
    #expect(abs(Self.exchange(ranks: 4, backward: short).exposed - (whole.seconds - short)) < 1e-9)
  }

  @Test(arguments: [("100Mbit", 1e8), ("1Gbit", 1e9), ("2.5gbit/s", 2.5e9), ("10 Gbit", 1e10)])
  func bandwidthsAreReadWithTheirUnits(text: String, bits: Double) {
    #expect(Network(text.filter { $0 != " " })?.bitsPerSecond == bits)
  }

  @Test(arguments: ["10", "Gbit", "-1Gbit", "0Mbit", "10GB", "infGbit"])
  func otherTextIsNoBandwidth(text: String) { #expect(Network(text) == nil) }

  /// The page's table follows from its own columns of parameters and seconds.
  @Test func thePagesTableIsWhatTheEstimateGives() throws {
    let page = try String(
      contentsOf: repository.appendingPathComponent("Documentation/Cluster.md"), encoding: .utf8)
    let rows = page.split(separator: "\n").filter { $0.contains("B LoRA |") || $0.contains("B full |") }
    #expect(rows.count == 8)
    for row in rows {
      let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      let counts = cells[1].split(separator: "(").map { Int($0.filter(\.isNumber)) }
      let (floats, inLayers) = (try #require(counts[0]), try #require(counts[1]))
      let seconds = try #require(Double(cells[2].dropLast(2)))
      let isFull = cells[0].hasSuffix("full")
      for (cell, bits) in zip(cells[3...], [1e9, 1e10, 1e11]) {
        let network = Network(bitsPerSecond: bits)
        let percents = [2, 8, 64, 1024].map { ranks in
          let exchange = ExchangeEstimate(
            floats: floats, inLayers: inLayers, sendsWeights: isFull, ranks: ranks, network: network,
            backward: seconds * (isFull ? 2 / 3 : 1 / 2))
          return "\(Int((100 * seconds / (seconds + exchange.exposed)).rounded()))"
        }
        #expect(cell == percents.joined(separator: " / "), "\(cells[0])")
      }
    }
  }
}
