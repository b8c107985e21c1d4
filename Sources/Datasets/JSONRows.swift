import Diagnostics
import OrderedJSON

/// Rows of JSON: one object per line, an array of objects, an object of columns, or an array in the member `data`.
enum JSONRows {
  /// Opens a JSON or JSON Lines file. The format is detected from the content, since both file extensions are used for
  /// both formats.
  /// - Throws: `SwiftletError` if it is neither. Errors in single rows are thrown when they are read.
  static func open(_ bytes: FileBytes, isLines: Bool) throws(SwiftletError) -> any RowSource {
    let start = try bytes.textStart()
    guard let first = try bytes.firstByte(from: start) else { return InMemoryRows([], file: bytes.path) }
    if first.byte == UInt8(ascii: "[") { return try array(bytes, from: first.offset) }
    let lines = try bytes.lines(from: start, returnEnds: false, skipsBlank: true)
    var isLines = isLines
    if !isLines, lines.count > 1 { isLines = holdsObject(try bytes.read(lines[0])) }
    if isLines { return IndexedRows(bytes: bytes, records: lines, format: "json lines", parse: line) }
    return try document(bytes, from: start)
  }

  private static func holdsObject(_ bytes: [UInt8]) -> Bool {
    if case .object? = try? JSONValue(parsing: bytes) { true } else { false }
  }

  private static func line(_ bytes: [UInt8]) throws(SwiftletError) -> Row {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: bytes)
    } catch {
      throw SwiftletError.data("\(error.reason); each line of JSON Lines must be one complete object")
    }
    guard case .object(let row) = value else {
      throw SwiftletError.data("expected an object with the columns of a row, found \(value.kind)")
    }
    return row
  }

  private static func element(_ bytes: [UInt8]) throws(SwiftletError) -> Row {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: bytes)
    } catch {
      throw SwiftletError.data(
        "\(error.reason) in this element of the array", at: FileLocation(line: error.location.line))
    }
    switch value {
    case .object(let row): return row
    case .string: return Row([("text", value)])
    default: throw SwiftletError.data("expected an object with the columns of a row, found \(value.kind)")
    }
  }

  /// The elements of the array that starts at `start`, found by counting brackets outside of strings.
  private static func array(_ bytes: FileBytes, from start: Int) throws(SwiftletError) -> IndexedRows {
    var elements = ArrayElements()
    try bytes.scan { chunk, offset throws(SwiftletError) in
      for (index, byte) in chunk.enumerated() where offset + index >= start {
        do throws(SwiftletError) {
          try elements.feed(byte, at: offset + index)
        } catch {
          throw error.located(at: FileLocation(file: bytes.path, line: bytes.line(at: offset + index)))
        }
      }
      return true
    }
    guard elements.isClosed else {
      throw SwiftletError.data(
        "the file ends inside its array; it is truncated, so download or save it again",
        at: FileLocation(file: bytes.path))
    }
    return IndexedRows(bytes: bytes, records: elements.found, format: "json", parse: element)
  }

  /// Reads a whole document into memory: an object with rows in one of three layouts.
  private static func document(_ bytes: FileBytes, from start: Int) throws(SwiftletError) -> InMemoryRows {
    let text = try bytes.read(start..<bytes.count)
    let value: JSONValue
    do {
      value = try JSONValue(parsing: text)
    } catch {
      throw SwiftletError.data(
        "\(error.reason); the file is neither JSON nor JSON Lines",
        at: FileLocation(file: bytes.path, line: error.location.line))
    }
    guard case .object(let object) = value else {
      throw SwiftletError.data("expected rows, found \(value.kind)", at: FileLocation(file: bytes.path))
    }
    for key in ["data", "rows", "train"] {
      guard case .array(let elements)? = object[key], case .object? = elements.first else { continue }
      return InMemoryRows(try rows(elements, file: bytes.path), file: bytes.path)
    }
    return InMemoryRows(columns(object) ?? [object], file: bytes.path)
  }

  private static func rows(_ elements: [JSONValue], file: String) throws(SwiftletError) -> [Row] {
    var rows: [Row] = []
    for (index, element) in elements.enumerated() {
      guard case .object(let row) = element else {
        throw SwiftletError.data(
          "expected an object with the columns of a row, found \(element.kind)",
          at: FileLocation(file: file, row: index + 1))
      }
      rows.append(row)
    }
    return rows
  }

  /// The rows of an object of columns of equal length; `nil` if the object is a single row, such as a conversation.
  private static func columns(_ object: Row) -> [Row]? {
    var height: Int?
    for member in object.members {
      guard case .array(let cells) = member.value, height == nil || height == cells.count else { return nil }
      if case .object(let message)? = cells.first, message["role"] != nil || message["from"] != nil { return nil }
      if ["input_ids", "labels"].contains(member.key), cells.first?.double != nil { return nil }
      height = cells.count
    }
    guard let height else { return nil }
    return (0..<height).map { index in
      Row(object.members.map { ($0.key, $0.value[index] ?? .null) })
    }
  }
}

/// Finds the byte ranges of the elements of a JSON array without parsing them.
private struct ArrayElements {
  private(set) var found: [Range<Int>] = []
  private(set) var isClosed = false
  private var depth = 0
  private var inString = false
  private var escaped = false
  private var start: Int?
  private var end = 0  // one past the last byte of the element that is not white space

  mutating func feed(_ byte: UInt8, at offset: Int) throws(SwiftletError) {
    if isJSONSpace(byte), !inString { return }
    if isClosed { throw SwiftletError.data("unexpected data after the end of the array") }
    if inString {
      if escaped {
        escaped = false
      } else if byte == UInt8(ascii: "\\") {
        escaped = true
      } else {
        inString = byte != UInt8(ascii: "\"")
      }
    } else {
      switch byte {
      case UInt8(ascii: "\""): inString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        if depth == 1 { return }
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth == 0 {
          if start != nil || !found.isEmpty { try close() }
          isClosed = true
          return
        }
      case UInt8(ascii: ",") where depth == 1: return try close()
      default: break
      }
    }
    if start == nil { start = offset }
    end = offset + 1
  }

  private mutating func close() throws(SwiftletError) {
    guard let start else { throw SwiftletError.data("expected an element of the array, found a comma") }
    found.append(start..<end)
    self.start = nil
  }
}
