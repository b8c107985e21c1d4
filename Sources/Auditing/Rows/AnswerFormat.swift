import Essentials
import OrderedJSON

/// The format of an answer.
enum AnswerFormat: UInt8, CaseIterable, Sendable {
  case prose, label, number, json, code, list, table

  /// The name in sentences.
  var name: String {
    switch self {
    case .prose: "prose"
    case .label: "a short label"
    case .number: "a number"
    case .json: "JSON"
    case .code: "code"
    case .list: "a list"
    case .table: "a table"
    }
  }

  /// Recognizes the format of a text without its thinking block.
  /// - Parameter unitCount: the number of its words, or characters in scripts without spaces.
  init(_ text: Substring, unitCount: Int) {
    let trimmed = text.trimmed
    if let first = trimmed.utf8.first, first == UInt8(ascii: "{") || first == UInt8(ascii: "["),
      (try? JSONValue(parsing: trimmed)) != nil
    {
      self = .json
    } else if trimmed.utf8.count < 24, Double(trimmed.filter { $0 != "," && $0 != "%" && $0 != "$" }) != nil {
      self = .number
    } else {
      self = Self.format(ofLines: trimmed, unitCount: unitCount)
    }
  }

  private static func format(ofLines text: String, unitCount: Int) -> AnswerFormat {
    var (lines, items, cells, code) = (0, 0, 0, 0)
    for line in text.nonemptyLines {
      let line = line.drop { $0 == " " || $0 == "\t" }
      guard let first = line.utf8.first else { continue }
      lines += 1
      if line.hasPrefix("```") { return .code }
      if isItem(line) { items += 1 }
      if first == UInt8(ascii: "|"), line.utf8.last == UInt8(ascii: "|") { cells += 1 }
      if looksLikeCode(line) { code += 1 }
    }
    if cells >= 2, cells * 2 > lines { return .table }
    if code >= 2, code * 2 > lines { return .code }
    if items >= 2, items * 2 > lines { return .list }
    let isSentence = text.last.map { AnswerEnding.terminal.contains($0) } ?? false
    return lines == 1 && !isSentence && (1..<6).contains(unitCount) ? .label : .prose
  }

  /// Whether a line begins with a bullet or a number: "- ", "* ", "• ", "1. ", "2) ", "3、".
  static func isItem(_ line: Substring) -> Bool {
    guard let first = line.first else { return false }
    if "-*•".contains(first) { return line.dropFirst().first == " " }
    let digits = line.prefix { $0.isNumber }
    guard (1...3).contains(digits.count), let mark = line.dropFirst(digits.count).first else { return false }
    return ".)、．）".contains(mark)
  }

  private static func looksLikeCode(_ line: Substring) -> Bool {
    if let last = line.utf8.last, last == UInt8(ascii: ";") || last == UInt8(ascii: "{") || last == UInt8(ascii: "}") {
      return true
    }
    return [
      "def ", "class ", "import ", "from ", "return ", "for (", "if (", "#include", "func ", "fn ", "let ", "var ",
      "const ", "print(", "SELECT ",
    ].contains { line.hasPrefix($0) }
      && !(line.last.map { ".。!?".contains($0) } ?? false)
  }
}

/// How an answer ends.
enum AnswerEnding: UInt8, Sendable {
  /// With punctuation that ends a sentence, a bracket, a quotation mark or a symbol.
  case closed
  /// With a letter, a digit or a comma.
  case open
  /// Inside a code block, or inside JSON.
  case broken

  /// Characters that a complete text may end with.
  static let terminal = Set<Character>(".!?…。！？」』”’\"')]}）】》>`*|~:：;；")

  init(_ text: Substring) {
    let trimmed = text.trimmed
    if Self.isBroken(trimmed) {
      self = .broken
    } else if let last = trimmed.last, last.isLetter || last.isNumber || ",，、;；-".contains(last),
      !Self.endsWithItem(trimmed)
    {
      self = .open
    } else {
      self = .closed
    }
  }

  /// Whether the last line is an item of a list, an option such as "B. ...", or what a colon before it announces.
  private static func endsWithItem(_ text: String) -> Bool {
    let lines = text.nonemptyLines
    guard lines.count > 1, let last = lines.last.map({ $0.drop { $0 == " " } }) else { return false }
    if AnswerFormat.isItem(last) { return true }
    if let first = last.first, first.isLetter, last.dropFirst().first.map({ ".)、．）:：".contains($0) }) ?? false {
      return true
    }
    // "The answer is: C" on a line of its own, or after it.
    if last.utf8.count < 80, last.contains(where: { ":：".contains($0) }) { return true }
    return lines[lines.count - 2].trimmed.last.map { ":：".contains($0) } ?? false
  }

  /// Whether a code block is not closed, or a text that begins as JSON ends before its brackets do.
  private static func isBroken(_ text: String) -> Bool {
    var fences = 0
    for line in text.nonemptyLines where line.trimmed.hasPrefix("```") { fences += 1 }
    if fences % 2 == 1 { return true }
    guard let first = text.utf8.first, first == UInt8(ascii: "{") || first == UInt8(ascii: "["),
      text.utf8.dropFirst().first.map({ "\"{[ \n".utf8.contains($0) }) ?? false
    else { return false }
    var (depth, inString, escaped) = (0, false, false)
    for byte in text.utf8 {
      if inString {
        if escaped {
          escaped = false
        } else if byte == UInt8(ascii: "\\") {
          escaped = true
        } else if byte == UInt8(ascii: "\"") {
          inString = false
        }
      } else if byte == UInt8(ascii: "\"") {
        inString = true
      } else if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
        depth += 1
      } else if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
        depth -= 1
        if depth == 0 { return false }
      }
    }
    return true
  }
}
