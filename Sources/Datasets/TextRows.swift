import Diagnostics
import OrderedJSON

/// Plain text: each line is the `text` of a row, empty lines included.
enum TextRows {
  static func open(_ bytes: FileBytes) throws(SwiftletError) -> any RowSource {
    let lines = try bytes.lines(from: try bytes.textStart(), returnEnds: true, skipsBlank: false)
    return IndexedRows(bytes: bytes, records: lines, format: "text") { line throws(SwiftletError) in
      guard let text = String(validating: line, as: UTF8.self) else {
        throw SwiftletError.data("the line is not valid UTF-8; save the file as UTF-8")
      }
      return Row([("text", .string(text))])
    }
  }
}
