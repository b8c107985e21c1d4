import Essentials

/// Formats numbers for people: three or four significant digits, with units.
public enum Format {
  /// A count with three significant digits: "950", "12.6K", "135M", "3.83B".
  public static func count(_ count: Int) -> String {
    let magnitude = Double(count.magnitude)
    let sign = count < 0 ? "-" : ""
    for (unit, suffix) in [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")] where magnitude >= unit * 0.9995 {
      return sign + threeDigits(magnitude / unit) + suffix
    }
    return String(count)
  }

  /// A size in bytes, in decimal units: "512 B", "98.0 MB", "1.81 GB".
  public static func bytes(_ bytes: Int) -> String {
    let magnitude = Double(bytes.magnitude)
    let sign = bytes < 0 ? "-" : ""
    for (unit, suffix) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")] where magnitude >= unit * 0.9995 {
      return sign + threeDigits(magnitude / unit) + " " + suffix
    }
    return "\(bytes) B"
  }

  /// A duration in seconds: "0.4s", "12s", "3m12s", "2h05m", "3d04h"; "?" if it is not finite.
  public static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e12 else { return "?" }
    let seconds = max(0, seconds)
    if seconds < 9.95 { return String(cFormat: "%.1fs", seconds) }
    let whole = Int(seconds.rounded())
    if whole < 60 { return "\(whole)s" }
    if whole < 3600 { return "\(whole / 60)m\(twoDigits(whole % 60))s" }
    if whole < 86_400 { return "\(whole / 3600)h\(twoDigits(whole % 3600 / 60))m" }
    return "\(whole / 86_400)d\(twoDigits(whole % 86_400 / 3600))h"
  }

  /// A fraction between 0 and 1 as a percentage: "0.33%", "12.5%", "100%"; "?" if it is not finite.
  public static func percent(_ fraction: Double) -> String {
    guard fraction.isFinite else { return "?" }
    let percent = fraction * 100
    return String(
      cFormat: percent.magnitude >= 99.95 ? "%.0f%%" : percent.magnitude >= 9.995 ? "%.1f%%" : "%.2f%%", percent)
  }

  /// A loss or similar metric with four significant digits: "2.417", "0.08312", "13.21".
  public static func loss(_ value: Double) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : value > 0 ? "inf" : "-inf" }
    switch value.magnitude {
    case 0: return "0"
    case ..<1e-4: return String(cFormat: "%.2e", value)
    case ..<0.1: return String(cFormat: "%.5f", value)
    case ..<10: return String(cFormat: "%.3f", value)
    default: return value.magnitude < 1e4 ? String(cFormat: "%.2f", value) : String(cFormat: "%.3g", value)
    }
  }

  private static func threeDigits(_ value: Double) -> String {
    String(cFormat: value >= 99.95 ? "%.0f" : value >= 9.995 ? "%.1f" : "%.2f", value)
  }

  private static func twoDigits(_ value: Int) -> String { value < 10 ? "0\(value)" : String(value) }
}
