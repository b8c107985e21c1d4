extension Character {
  /// The number of terminal columns this character occupies: 2 for East Asian wide characters and emoji, 0 for control
  /// and combining characters, otherwise 1 (East Asian Width, UAX #11; emoji presentation, UTS #51).
  public var displayWidth: Int {
    guard let first = unicodeScalars.first else { return 0 }
    // U+FE0F selects emoji presentation and U+200D joins emoji; both make the cluster wide.
    if unicodeScalars.count > 1, first.properties.isEmoji, first.value > 0x7F || unicodeScalars.contains("\u{20E3}") {
      if unicodeScalars.contains("\u{FE0F}") || unicodeScalars.contains("\u{200D}") { return 2 }
    }
    return first.displayWidth
  }
}

extension Unicode.Scalar {
  fileprivate var displayWidth: Int {
    if value >= 0x20, value < 0x7F { return 1 }
    switch properties.generalCategory {
    case .control, .format, .nonspacingMark, .enclosingMark, .lineSeparator, .paragraphSeparator: return 0
    default: break
    }
    if properties.isEmojiPresentation { return 2 }
    return Self.wide.contains { $0.contains(value) } ? 2 : 1
  }

  /// The blocks whose East Asian Width is Wide or Fullwidth.
  private static let wide: [ClosedRange<UInt32>] = [
    0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0xA4CF, 0xA960...0xA97C,
    0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE6F, 0xFF01...0xFF60, 0xFFE0...0xFFE6,
    0x16FE0...0x18D08, 0x1AFF0...0x1B2FB, 0x1F200...0x1F265, 0x1F900...0x1F9FF, 0x20000...0x3FFFD,
  ]
}

extension StringProtocol {
  /// The number of terminal columns this text occupies. It should be `printable` and on one line.
  public var displayWidth: Int { reduce(0) { $0 + $1.displayWidth } }

  /// The longest prefix that fits in `columns` terminal columns.
  public func clipped(to columns: Int) -> SubSequence {
    var left = columns
    let end = indices.first { index in
      left -= self[index].displayWidth
      return left < 0
    }
    return self[..<(end ?? endIndex)]
  }

  /// The text wrapped to lines of at most `columns` terminal columns. Lines break at spaces, between wide characters,
  /// and inside a word only if the word alone is too long. Existing line breaks stay.
  public func wrapped(to columns: Int) -> [String] {
    split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
      LineWrapping(columns: Swift.max(2, columns)).lines(of: line)
    }
  }
}

/// Wraps one paragraph.
private struct LineWrapping {
  let columns: Int

  func lines(of text: some StringProtocol) -> [String] {
    var lines: [String] = []
    var line = ""
    var width = 0
    for piece in pieces(of: text) {
      let isSpace = piece.allSatisfy { $0 == " " }
      var piece = piece[...]
      var pieceWidth = piece.displayWidth
      if width + pieceWidth > columns, width > 0 {
        while line.last == " " { line.removeLast() }
        lines.append(line)
        line = ""
        width = 0
        if isSpace { continue }
      }
      while pieceWidth > columns {
        let head = piece.clipped(to: columns)
        lines.append(String(head))
        piece = piece.dropFirst(head.count)
        pieceWidth = piece.displayWidth
      }
      line += piece
      width += pieceWidth
    }
    return lines + [line]
  }

  /// Runs of spaces, words, and single wide characters.
  private func pieces(of text: some StringProtocol) -> [String] {
    var pieces: [String] = []
    var isOpen = false
    for character in text {
      let isWide = character.displayWidth == 2
      let isSpace = character == " "
      if isOpen, !isWide, let last = pieces.last?.last, (last == " ") == isSpace {
        pieces[pieces.count - 1].append(character)
      } else {
        pieces.append(String(character))
      }
      isOpen = !isWide
    }
    return pieces
  }
}
