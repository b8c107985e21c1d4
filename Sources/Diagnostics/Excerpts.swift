extension String {
  /// This text in double quotes, as messages quote untrusted text: one line, escaped, at most 100 characters.
  public var quotedExcerpt: String { "\"\(escapedLine(limit: 100))\"" }

  /// This text on one line without anything that could change how a terminal shows what follows: line breaks, tabs,
  /// other control characters and bidirectional overrides become escapes such as `\n` or `\u{1B}`.
  ///
  /// - Parameter limit: the most Unicode scalars of the original to keep. A longer text ends in `…`.
  public func escapedLine(limit: Int) -> String {
    var result = ""
    var count = 0
    for scalar in unicodeScalars {
      if count == limit {
        result.append("…")
        break
      }
      count += 1
      switch scalar {
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.canDisturbTerminal: result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension Unicode.Scalar {
  /// Control characters, line separators, and the marks that embed, isolate or override text direction.
  fileprivate var canDisturbTerminal: Bool {
    switch value {
    case 0x00...0x1F, 0x7F...0x9F, 0x2028...0x2029, 0x202A...0x202E, 0x2066...0x2069: true
    default: false
    }
  }
}
