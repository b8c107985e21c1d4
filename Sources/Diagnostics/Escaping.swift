extension Unicode.Scalar {
  /// Whether a terminal would act on this scalar instead of showing it: C0 and C1 control characters (which start
  /// escape sequences), line and paragraph separators, and the marks that embed, isolate or override text direction.
  ///
  /// Error messages escape these scalars and the `Terminal` module replaces them; both use this one rule.
  public var isTerminalControl: Bool {
    switch value {
    case 0x00...0x1F, 0x7F...0x9F, 0x2028...0x2029, 0x202A...0x202E, 0x2066...0x2069: true
    default: false
    }
  }
}

extension String {
  /// This text in double quotes for use in a message: one line, escaped, at most 100 characters.
  public var quotedExcerpt: String { "\"\(escapedLine(limit: 100))\"" }

  /// This text on one line, safe to show on a terminal: control characters and bidirectional overrides become escapes
  /// such as `\n` or `\u{1B}`.
  ///
  /// - Parameter limit: the maximum length of the result in Unicode scalars. Longer text is cut and ends in `…`, which
  ///   does not count.
  public func escapedLine(limit: Int) -> String {
    var result = ""
    var length = 0
    for scalar in unicodeScalars {
      let piece = scalar.escapedForMessage
      length += piece.unicodeScalars.count
      if length > limit { return result + "…" }
      result += piece
    }
    return result
  }
}

extension Unicode.Scalar {
  fileprivate var escapedForMessage: String {
    switch self {
    case "\n": "\\n"
    case "\r": "\\r"
    case "\t": "\\t"
    case _ where isTerminalControl: "\\u{\(String(value, radix: 16, uppercase: true))}"
    default: String(self)
    }
  }
}
