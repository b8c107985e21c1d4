import Diagnostics

extension StringProtocol {
  /// The text without anything a terminal would act on, such as escape sequences in a model's output. Line feeds stay,
  /// carriage returns are removed, a tab becomes two spaces, and every other `isTerminalControl` scalar becomes U+FFFD.
  public var printable: String { replacingTerminalControls(keepingColors: false) }

  /// As `printable`, but keeps the color sequences that `Style` writes if `keepingColors` is set.
  func replacingTerminalControls(keepingColors: Bool) -> String {
    var result = String.UnicodeScalarView()
    var rest = unicodeScalars[...]
    while let scalar = rest.first {
      if keepingColors, let sequence = Style.colorSequences.first(where: { rest.starts(with: $0.unicodeScalars) }) {
        result.append(contentsOf: sequence.unicodeScalars)
        rest = rest.dropFirst(sequence.unicodeScalars.count)
        continue
      }
      switch scalar {
      case "\r": break
      case "\n": result.append(scalar)
      case "\t": result.append(contentsOf: "  ".unicodeScalars)
      case _ where scalar.isTerminalControl: result.append("\u{FFFD}")
      default: result.append(scalar)
      }
      rest = rest.dropFirst()
    }
    return String(result)
  }
}
