/// Colors and text attributes for a terminal (ECMA-48 SGR). Without color, text is returned unchanged.
public struct Style: Sendable, Hashable {
  /// Whether the methods add escape sequences.
  public let isColored: Bool

  /// A style with or without color.
  public init(isColored: Bool) { self.isColored = isColored }

  /// Returns the text in bold.
  public func bold(_ text: String) -> String { marked(text, .bold) }
  /// Returns the text dimmed, for secondary details.
  public func dim(_ text: String) -> String { marked(text, .dim) }
  /// Returns the text underlined.
  public func underlined(_ text: String) -> String { marked(text, .underlined) }
  /// Returns the text in red, for failures.
  public func red(_ text: String) -> String { marked(text, .red) }
  /// Returns the text in green, for success and for trained tokens.
  public func green(_ text: String) -> String { marked(text, .green) }
  /// Returns the text in yellow, for warnings.
  public func yellow(_ text: String) -> String { marked(text, .yellow) }
  /// Returns the text in blue, for headings.
  public func blue(_ text: String) -> String { marked(text, .blue) }
  /// Returns the text in cyan, for names.
  public func cyan(_ text: String) -> String { marked(text, .cyan) }

  private enum Attribute: Int, CaseIterable {
    case reset = 0
    case bold = 1
    case dim = 2
    case underlined = 4
    case red = 31
    case green = 32
    case yellow = 33
    case blue = 34
    case cyan = 36

    var sequence: String { "\u{1B}[\(rawValue)m" }
  }

  /// Every escape sequence that a style writes.
  static let colorSequences = Attribute.allCases.map(\.sequence)

  /// Marks each line separately, so that a table can place lines side by side.
  private func marked(_ text: String, _ attribute: Attribute) -> String {
    guard isColored, !text.isEmpty else { return text }
    return text.split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0.isEmpty ? "" : attribute.sequence + $0 + Attribute.reset.sequence }.joined(separator: "\n")
  }
}
