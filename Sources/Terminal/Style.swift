/// Colours and weights for a terminal; without one, texts stay as they are.
public struct Style: Sendable, Hashable {
  /// Whether texts are coloured.
  public let isColored: Bool

  /// A style that colours or does not.
  public init(isColored: Bool) { self.isColored = isColored }

  /// Bold.
  public func bold(_ text: String) -> String { marked(text, 1) }
  /// Less bright than the rest.
  public func dim(_ text: String) -> String { marked(text, 2) }
  /// Underlined.
  public func underlined(_ text: String) -> String { marked(text, 4) }
  /// Red, for what failed.
  public func red(_ text: String) -> String { marked(text, 31) }
  /// Green, for what went well or is trained on.
  public func green(_ text: String) -> String { marked(text, 32) }
  /// Yellow, for warnings.
  public func yellow(_ text: String) -> String { marked(text, 33) }
  /// Blue, for headings.
  public func blue(_ text: String) -> String { marked(text, 34) }
  /// Cyan, for names.
  public func cyan(_ text: String) -> String { marked(text, 36) }

  /// Each line is marked by itself, so that lines can be laid side by side and cut apart.
  private func marked(_ text: String, _ code: Int) -> String {
    guard isColored, !text.isEmpty else { return text }
    return text.split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0.isEmpty ? "" : "\u{1B}[\(code)m\($0)\u{1B}[0m" }.joined(separator: "\n")
  }
}
