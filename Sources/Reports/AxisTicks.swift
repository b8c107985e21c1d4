import Essentials

/// Round numbers for the ticks of an axis.
struct AxisTicks {
  /// The positions, in ascending order.
  let values: [Double]
  /// The label of each position.
  let labels: [String]

  /// Chooses about `wanted` ticks in `range`, at multiples of 1, 2 or 5 times a power of ten.
  init(_ range: ClosedRange<Double>, wanted: Int, wholeNumbers: Bool = false) {
    let span = range.upperBound - range.lowerBound
    guard span > 0, span.isFinite, wanted > 0 else {
      values = [range.lowerBound]
      labels = [Self.label(range.lowerBound, decimals: wholeNumbers ? 0 : 2)]
      return
    }
    let step = Self.step(span, wanted: wanted, wholeNumbers: wholeNumbers)
    let first = (range.lowerBound / step - 1e-9).rounded(.up)
    let last = (range.upperBound / step + 1e-9).rounded(.down)
    values = first <= last ? stride(from: first, through: last, by: 1).prefix(100).map { $0 * step } : []
    let decimals = max(0, Int(clamping: -floor(log10(step) + 1e-9)))
    labels = values.map { Self.label($0, decimals: wholeNumbers ? 0 : decimals) }
  }

  /// The distance between about `wanted` ticks: 1, 2 or 5 times a power of ten.
  private static func step(_ span: Double, wanted: Int, wholeNumbers: Bool) -> Double {
    let rough = span / Double(wanted)
    let power = pow(10, floor(log10(rough)))
    let multiple = [1, 2, 5, 10].first { $0 * power >= rough * 0.999 } ?? 10
    return wholeNumbers ? max(1, (multiple * power).rounded()) : multiple * power
  }

  /// `range` extended to the next ticks, so that every point lies between two of them.
  static func cover(_ range: ClosedRange<Double>, wanted: Int, wholeNumbers: Bool = false) -> ClosedRange<Double> {
    // A longer range may have ticks farther apart.
    (0..<3).reduce(range) { range, _ in extended(range, wanted: wanted, wholeNumbers: wholeNumbers) }
  }

  private static func extended(_ range: ClosedRange<Double>, wanted: Int, wholeNumbers: Bool) -> ClosedRange<Double> {
    let span = range.upperBound - range.lowerBound
    guard span > 0, span.isFinite, wanted > 0 else { return range }
    let step = step(span, wanted: wanted, wholeNumbers: wholeNumbers)
    let low = (range.lowerBound / step + 1e-9).rounded(.down) * step
    let high = (range.upperBound / step - 1e-9).rounded(.up) * step
    guard low.isFinite, high.isFinite, low < high else { return range }
    return min(low, range.lowerBound)...max(high, range.upperBound)
  }

  /// Formats a number, with thin spaces between thousands.
  static func label(_ value: Double, decimals: Int) -> String {
    if value.magnitude >= 1e9 || decimals > 6 { return String(cFormat: "%.2g", value) }
    let text = String(cFormat: "%.\(decimals)f", value == 0 ? 0 : value)
    guard decimals == 0, value.magnitude >= 10_000 else { return text }
    var grouped = ""
    for (index, digit) in text.reversed().enumerated() {
      if index > 0, index % 3 == 0, digit != "-" { grouped.append("\u{2009}") }
      grouped.append(digit)
    }
    return String(grouped.reversed())
  }
}
