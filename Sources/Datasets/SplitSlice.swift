import Diagnostics

/// A slice of a split in brackets: `[:100]`, `[100:200]`, `[50%:]`, `[-100:]`.
struct SplitSlice: Sendable, Hashable {
  private enum Bound: Hashable {
    case row(Int)
    case percent(Int)
  }
  private var from: Bound?
  private var to: Bound?

  /// Parses a split's name and its slice, if it has one.
  /// - Throws: `SwiftletError` if the brackets are malformed.
  static func parse(_ split: String) throws(SwiftletError) -> (name: String, slice: SplitSlice?) {
    guard let open = split.firstIndex(of: "[") else { return (split, nil) }
    let name = String(split[..<open])
    let bounds = split[open...].dropFirst().dropLast().split(separator: ":", omittingEmptySubsequences: false)
    guard split.hasSuffix("]"), bounds.count == 2 else { throw malformed(split) }
    return (name, SplitSlice(from: try bound(bounds[0], split), to: try bound(bounds[1], split)))
  }

  private static func bound(_ text: Substring, _ split: String) throws(SwiftletError) -> Bound? {
    if text.isEmpty { return nil }
    let isPercent = text.hasSuffix("%")
    guard let number = Int(isPercent ? text.dropLast() : text), !isPercent || (-100...100).contains(number) else {
      throw malformed(split)
    }
    return isPercent ? .percent(number) : .row(number)
  }

  private static func malformed(_ split: String) -> SwiftletError {
    SwiftletError.data(
      "the split \(split.quotedExcerpt) is malformed; use a form such as train, train[:100] or train[10%:20%]")
  }

  func range(of count: Int) -> Range<Int> {
    func row(_ bound: Bound?, _ missing: Int) -> Int {
      let number: Int
      switch bound {
      case nil: return missing
      case .row(let row): number = row
      case .percent(let percent): number = Int((Double(percent) * Double(count) / 100).rounded(.toNearestOrEven))
      }
      return max(0, min(count, number < 0 ? number + count : number))
    }
    let start = row(from, 0)
    return start..<max(start, row(to, count))
  }
}
