import Terminal
import Testing

@Suite struct FormatTests {
  @Test(arguments: [
    (0, "0"), (950, "950"), (999, "999"), (1000, "1.00K"), (12_580_864, "12.6M"), (3_833_662_464, "3.83B"),
    (999_999, "1.00M"), (-1500, "-1.50K"), (134_515_008, "135M"), (Int.max, "9223372T"), (Int.min, "-9223372T"),
  ])
  func counts(count: Int, text: String) { #expect(Format.count(count) == text) }

  @Test(arguments: [(512, "512 B"), (98_000_000, "98.0 MB"), (1_811_939_328, "1.81 GB"), (999_999, "1.00 MB")])
  func sizes(bytes: Int, text: String) { #expect(Format.bytes(bytes) == text) }

  @Test(arguments: [
    (0.42, "0.4s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m00s"), (192, "3m12s"), (7500, "2h05m"), (273_600, "3d04h"),
    (-1, "0.0s"), (.infinity, "?"), (.nan, "?"), (1e300, "?"),
  ])
  func durations(seconds: Double, text: String) { #expect(Format.duration(seconds) == text) }

  @Test(arguments: [(0.003281, "0.33%"), (0.125, "12.5%"), (1, "100%"), (.nan, "?")])
  func percents(share: Double, text: String) { #expect(Format.percent(share) == text) }

  @Test(arguments: [
    (2.41678, "2.417"), (0.083119, "0.08312"), (13.2061, "13.21"), (0, "0"), (.nan, "nan"), (1e-9, "1.00e-09"),
  ])
  func losses(loss: Double, text: String) { #expect(Format.loss(loss) == text) }
}
