import Foundation
import TestSupport
import Testing
import Training

/// What ranks send and how long that takes, as `swiftlet plan --ranks` and Documentation/Cluster.md say.
@Suite struct ExchangeEstimateTests {
  private static let gigabit = Network(bitsPerSecond: 1e9)

  @Test func theTrafficIsThatOfARing() {
    #expect(ExchangeEstimate(floats: 1000, ranks: 1, network: Self.gigabit).seconds == 0)
    #expect(ExchangeEstimate(floats: 1000, ranks: 2, network: Self.gigabit).bytes == 4000)
    #expect(ExchangeEstimate(floats: 1000, ranks: 4, network: Self.gigabit).bytes == 6000)
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
      let floats = try #require(Int(cells[1].filter(\.isNumber)))
      let seconds = try #require(Double(cells[2].dropLast(2)))
      for (cell, bits) in zip(cells[3...], [1e9, 1e10, 1e11]) {
        let network = Network(bitsPerSecond: bits)
        let percents = [2, 8, 64, 1024].map { ranks in
          let exchange = ExchangeEstimate(floats: floats, ranks: ranks, network: network).seconds
          return "\(Int((100 * seconds / (seconds + exchange)).rounded()))"
        }
        #expect(cell == percents.joined(separator: " / "), "\(cells[0])")
      }
    }
  }
}
