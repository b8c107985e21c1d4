import Diagnostics
import OrderedJSON

/// Plain text: every line, including empty ones, is the `text` of a row.
enum TextRows {
  static func open(_ bytes: FileBytes) throws(SwiftletError) -> any RowSource {
    let start = try bytes.textStart()
    let lines = try bytes.lines(from: start, returnEnds: true, skipsBlank: false)
    var rows = IndexedRows(bytes: bytes, records: lines, format: "text") { line throws(SwiftletError) in
      guard let text = String(validating: line, as: UTF8.self) else {
        throw SwiftletError.data("the line is not valid UTF-8; save the file as UTF-8")
      }
      return ["text": .string(text)]
    }
    if try looksLikeJSON(bytes, from: start) {
      rows.notes.append(
        "\(bytes.path.escapedLine(limit: 300)) looks like JSON, but every line of a .txt file is a row of plain text; "
          + "rename it to .json or .jsonl if its objects are the rows")
    }
    return rows
  }

  /// Whether the text starts like a JSON object or an array of objects.
  private static func looksLikeJSON(_ bytes: FileBytes, from start: Int) throws(SwiftletError) -> Bool {
    let head = try bytes.read(start..<min(bytes.count, start + 4096)).filter { !isJSONSpace($0) }.prefix(2)
    return [Array("{\"".utf8), Array("[{".utf8)].contains(Array(head))
  }
}
