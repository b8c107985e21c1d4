import Essentials

/// Reads lines from a terminal, with editing, history, characters of any width, and pasted text of several lines.
///
/// Keys: arrows, Home, End, Backspace, Delete, and Ctrl-A, B, D, E, F, H, K, L, N, P, U and W as in a shell.
public struct LineEditor {
  /// How reading a line ended.
  public enum Outcome: Hashable, Sendable {
    /// Return was pressed. Pasted text may contain line breaks.
    case line(String)
    /// Ctrl-D was pressed on an empty line, or the input ended.
    case end
    /// Ctrl-C was pressed on an empty line, or `isStopped` returned `true`.
    case interrupted
  }

  private var history: [String] = []

  /// Creates an editor without history; it remembers the last 1000 lines.
  public init() {}

  /// Whether standard input and output are terminals, which editing needs.
  public static var isSupported: Bool { isatty(STDIN_FILENO) == 1 && Output.standardOutput.isTerminal }

  /// Reads a line. The terminal is in raw mode until this returns.
  /// - Parameter isStopped: asked at least twice per second and after each signal; `true` ends reading.
  public mutating func read(prompt: String, isStopped: @escaping () -> Bool) -> Outcome {
    guard let raw = RawTerminal() else { return .end }
    defer { raw.restore() }
    let output = Output.standardOutput
    // Bracketed paste: the terminal marks pasted text, so that its line breaks don't end the line.
    output.write("\u{1B}[?2004h")
    defer { output.write("\u{1B}[?2004l") }
    var line = EditedLine(history: history)
    var keys = KeyReader(isStopped: isStopped)
    var screen = LineScreen(prompt: prompt, output: output)
    screen.draw(line)
    while true {
      // Keys that arrive together, such as text pasted into a terminal without bracketed paste, are drawn once.
      switch line.apply(keys.next()) {
      case .none: break
      case .changed: if !keys.hasPending { screen.draw(line) }
      case .cleared:
        screen.finish(line)
        screen.draw(line)
      case .clearScreen:
        output.write("\u{1B}[H\u{1B}[2J")
        screen.reset()
        screen.draw(line)
      case .finished(let outcome):
        screen.draw(line)
        screen.finish(line)
        if case .line(let text) = outcome, !text.trimmed.isEmpty, history.last != text {
          history = history.suffix(999) + [text]
        }
        return outcome
      }
    }
  }
}

/// A decoded key press.
enum Key: Hashable {
  case text(Unicode.Scalar)
  case control(UInt8)
  case up, down, left, right, wordLeft, wordRight, home, end, delete
  case pasted(String)
  case unknown
  /// The end of the input.
  case endOfInput
  case stopped
}

/// The text of a line, the cursor in it, and the history.
struct EditedLine {
  enum Effect: Hashable {
    case none, changed, cleared, clearScreen
    case finished(LineEditor.Outcome)
  }

  private(set) var characters: [Character] = []
  private(set) var cursor = 0
  private var entries: [String]
  private var entry: Int

  init(history: [String]) {
    entries = history + [""]
    entry = history.count
  }

  var text: String { String(characters) }

  mutating func apply(_ key: Key) -> Effect {
    switch key {
    case .text(let scalar): insert(scalar)
    case .pasted(let text):
      for scalar in text.unicodeScalars { insert(scalar) }
    case .left: cursor = max(0, cursor - 1)
    case .right: cursor = min(characters.count, cursor + 1)
    case .home: cursor = 0
    case .end: cursor = characters.count
    case .wordLeft: cursor = wordStart
    case .wordRight:
      while cursor < characters.count, characters[cursor].isWhitespace { cursor += 1 }
      while cursor < characters.count, !characters[cursor].isWhitespace { cursor += 1 }
    case .delete: if cursor < characters.count { characters.remove(at: cursor) }
    case .up: recall(entry - 1)
    case .down: recall(entry + 1)
    case .control(let byte): return apply(control: byte)
    case .unknown: return .none
    case .endOfInput: return .finished(characters.isEmpty ? .end : .line(text))
    case .stopped: return .finished(.interrupted)
    }
    return .changed
  }

  private mutating func apply(control byte: UInt8) -> Effect {
    switch byte {
    case 0x01: cursor = 0
    case 0x02: cursor = max(0, cursor - 1)
    case 0x03:
      if characters.isEmpty { return .finished(.interrupted) }
      characters = []
      cursor = 0
      return .cleared
    case 0x04:
      if characters.isEmpty { return .finished(.end) }
      if cursor < characters.count { characters.remove(at: cursor) }
    case 0x05: cursor = characters.count
    case 0x06: cursor = min(characters.count, cursor + 1)
    case 0x08, 0x7F:
      if cursor > 0 {
        cursor -= 1
        characters.remove(at: cursor)
      }
    case 0x09: insert(" ")
    case 0x0A, 0x0D:
      cursor = characters.count
      return .finished(.line(text))
    case 0x0B: characters.removeSubrange(cursor...)
    case 0x0C: return .clearScreen
    case 0x0E: recall(entry + 1)
    case 0x10: recall(entry - 1)
    case 0x15:
      characters.removeSubrange(..<cursor)
      cursor = 0
    case 0x17:
      let start = wordStart
      characters.removeSubrange(start..<cursor)
      cursor = start
    default: return .none
    }
    return .changed
  }

  private var wordStart: Int {
    var start = cursor
    while start > 0, characters[start - 1].isWhitespace { start -= 1 }
    while start > 0, !characters[start - 1].isWhitespace { start -= 1 }
    return start
  }

  /// Inserts a scalar, which may combine with the character before the cursor.
  private mutating func insert(_ scalar: Unicode.Scalar) {
    let character = Character(scalar)
    if cursor > 0, character != "\n" {
      let joined = String(characters[cursor - 1]) + String(character)
      if joined.count == 1, let one = joined.first {
        characters[cursor - 1] = one
        return
      }
    }
    characters.insert(character, at: cursor)
    cursor += 1
  }

  private mutating func recall(_ other: Int) {
    guard entries.indices.contains(other) else { return }
    entries[entry] = text
    entry = other
    characters = Array(entries[other])
    cursor = characters.count
  }
}

/// Draws a line that may wrap over several rows of the screen.
struct LineScreen {
  private let prompt: String
  private let output: Output
  /// The cursor's row, counted from the row of the prompt.
  private var cursorRow = 0
  private var lastRow = 0

  init(prompt: String, output: Output) {
    self.prompt = prompt
    self.output = output
  }

  /// Continues on an empty screen, or on the next row.
  mutating func reset() { (cursorRow, lastRow) = (0, 0) }

  mutating func draw(_ line: EditedLine) {
    let columns = output.columns()
    var text = Self.up(cursorRow) + "\r\u{1B}[J" + output.style.bold(prompt)
    var (row, column) = (0, prompt.displayWidth)
    var cursor = (row: 0, column: column)
    for (index, character) in line.characters.enumerated() {
      if index == line.cursor { cursor = (row, column) }
      let shown = character == "\n" ? "↵" : String(character).printable
      let width = shown.displayWidth
      if column + width > columns { (row, column) = (row + 1, 0) }
      text += shown
      column += width
    }
    // After a full row, a terminal wraps only when the next character arrives.
    if column >= columns {
      text += "\r\n"
      (row, column) = (row + 1, 0)
    }
    if line.cursor == line.characters.count { cursor = (row, column) }
    if cursor.column >= columns { cursor = (cursor.row + 1, 0) }
    text += Self.up(row - cursor.row) + "\r"
    if cursor.column > 0 { text += "\u{1B}[\(cursor.column)C" }
    output.write(text)
    (cursorRow, lastRow) = (cursor.row, row)
  }

  /// Moves to the row below the line.
  mutating func finish(_ line: EditedLine) {
    let rows = max(0, lastRow - cursorRow)
    output.write((rows > 0 ? "\u{1B}[\(rows)B" : "") + "\r\n")
    reset()
  }

  private static func up(_ rows: Int) -> String { rows > 0 ? "\u{1B}[\(rows)A" : "" }
}

/// Decodes keys from the bytes of standard input.
private struct KeyReader {
  let isStopped: () -> Bool
  private var bytes: [UInt8] = []

  init(isStopped: @escaping () -> Bool) { self.isStopped = isStopped }

  /// Whether more keys can be read without waiting.
  var hasPending: Bool {
    if !bytes.isEmpty { return true }
    var entry = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0
  }

  mutating func next() -> Key {
    switch byte() {
    case .failure(let key): return key
    case .success(0x1B): return escape()
    case .success(let first) where first < 0x20 || first == 0x7F: return .control(first)
    case .success(let first): return scalar(first).map { .text($0) } ?? .unknown
    }
  }

  private enum Byte {
    case success(UInt8)
    case failure(Key)
  }

  /// Waits for the next byte, at most `milliseconds` if given.
  private mutating func byte(within milliseconds: Int32? = nil) -> Byte {
    while bytes.isEmpty {
      if isStopped() { return .failure(.stopped) }
      var entry = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      let ready = poll(&entry, 1, milliseconds ?? 500)
      if ready < 0, errno != EINTR { return .failure(.endOfInput) }
      if ready == 0, milliseconds != nil { return .failure(.unknown) }
      if ready <= 0 { continue }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = systemRead(&buffer)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return .failure(.endOfInput) }
      bytes = buffer.prefix(count).reversed()
    }
    return .success(bytes.removeLast())
  }

  private mutating func scalar(_ first: UInt8) -> Unicode.Scalar? {
    var encoded = [first]
    let count = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1
    while encoded.count < count {
      guard case .success(let next) = byte(within: 200) else { return nil }
      encoded.append(next)
    }
    guard let text = String(validating: encoded, as: UTF8.self) else { return nil }
    return text.unicodeScalars.first
  }

  private mutating func escape() -> Key {
    guard case .success(let second) = byte(within: 50) else { return .unknown }
    switch second {
    case UInt8(ascii: "b"): return .wordLeft
    case UInt8(ascii: "f"): return .wordRight
    case UInt8(ascii: "O"), UInt8(ascii: "["): break
    default: return .unknown
    }
    var parameters = ""
    while parameters.count < 16, case .success(let next) = byte(within: 50) {
      if next < 0x40 {
        parameters.append(Character(Unicode.Scalar(next)))
        continue
      }
      return key(Character(Unicode.Scalar(next)), parameters)
    }
    return .unknown
  }

  private mutating func key(_ final: Character, _ parameters: String) -> Key {
    switch (final, parameters) {
    case ("A", _): .up
    case ("B", _): .down
    case ("C", ""): .right
    case ("D", ""): .left
    case ("C", _): .wordRight
    case ("D", _): .wordLeft
    case ("H", _), ("~", "1"), ("~", "7"): .home
    case ("F", _), ("~", "4"), ("~", "8"): .end
    case ("~", "3"): .delete
    case ("~", "200"): paste()
    default: .unknown
    }
  }

  /// Reads pasted text up to the marker that ends it.
  private mutating func paste() -> Key {
    let mark = Array("\u{1B}[201~".utf8)
    var pasted: [UInt8] = []
    while !pasted.suffix(mark.count).elementsEqual(mark) {
      guard pasted.count < 1 << 20, case .success(let next) = byte(within: 2000) else { break }
      pasted.append(next)
    }
    if pasted.suffix(mark.count).elementsEqual(mark) { pasted.removeLast(mark.count) }
    let text = String(decoding: pasted, as: UTF8.self).replacing("\r\n", with: "\n").replacing("\r", with: "\n")
    return .pasted(
      String(
        String.UnicodeScalarView(
          text.unicodeScalars.filter { $0 == "\n" || $0.properties.generalCategory != .control }
        )))
  }
}

private func systemRead(_ buffer: inout [UInt8]) -> Int {
  buffer.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
}

/// Puts the terminal in raw mode: no line buffering, no echo, no signal keys.
private struct RawTerminal {
  private var saved = termios()

  init?() {
    guard tcgetattr(STDIN_FILENO, &saved) == 0 else { return nil }
    var raw = saved
    raw.c_iflag &= ~tcflag_t(ICRNL | INLCR | IXON)
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
    guard tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0 else { return nil }
  }

  func restore() {
    var state = saved
    tcsetattr(STDIN_FILENO, TCSADRAIN, &state)
  }
}
