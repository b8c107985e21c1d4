import Diagnostics
import OrderedJSON

/// Comma- or tab-separated values with a header (RFC 4180), typed as `datasets` types them: a column of integers, of
/// floating-point numbers, of booleans (`True` and `False`), or of text. Empty fields are null.
///
/// Words such as `NA` and `None` are null only in columns of numbers; in text they may be an answer.
enum CSVRows {
  static func open(_ bytes: FileBytes, separator: UInt8) throws(SwiftletError) -> any RowSource {
    var index = CSVIndex(separator: separator, start: try bytes.textStart(), file: bytes)
    try bytes.scan { chunk, offset throws(SwiftletError) in
      try index.take(chunk, at: offset)
      return true
    }
    try index.finish()
    guard let header = index.header else { return InMemoryRows([], file: bytes.path) }
    let columns = index.columns
    let types = columns.map(\.type)
    return IndexedRows(bytes: bytes, records: index.records, format: "csv \(separator)") {
      record throws(SwiftletError) in
      var scanner = CSVScanner(separator: separator)
      for byte in record { _ = scanner.feed(byte) }
      let fields = scanner.takeFields()
      var members: [(String, JSONValue)] = []
      members.reserveCapacity(header.count)
      for (index, name) in header.enumerated() {
        members.append((name, index < fields.count ? try types[index].value(of: fields[index]) : .null))
      }
      return Row(members)
    }
  }

  fileprivate static func text(_ bytes: [UInt8]) throws(SwiftletError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw SwiftletError.data("a field is not valid UTF-8; save the file as UTF-8")
    }
    return text
  }
}

/// Finds the records of a file, its column names and the types of its columns.
private struct CSVIndex {
  private(set) var header: [String]?
  private(set) var columns: [CSVColumn] = []
  private(set) var records: [Range<Int>] = []
  private let file: FileBytes
  private let start: Int
  private var scanner: CSVScanner
  private var recordStart: Int
  private var afterReturn = false

  init(separator: UInt8, start: Int, file: FileBytes) {
    self.file = file
    self.start = start
    scanner = CSVScanner(separator: separator)
    recordStart = start
  }

  mutating func take(_ chunk: [UInt8], at offset: Int) throws(SwiftletError) {
    for place in max(0, min(start - offset, chunk.count))..<chunk.count {
      let byte = chunk[place]
      if afterReturn, byte == 10 {
        recordStart = offset + place + 1
        afterReturn = false
        continue
      }
      afterReturn = false
      if scanner.feed(byte) {
        try close(at: offset + place)
        recordStart = offset + place + 1
        afterReturn = byte == 13
      }
    }
  }

  mutating func finish() throws(SwiftletError) {
    if scanner.isInsideQuotes {
      throw located(
        SwiftletError.data("a quoted field that starts in this record never ends; double the quotation marks inside it")
      )
    }
    try close(at: file.count)
  }

  private mutating func close(at end: Int) throws(SwiftletError) {
    let fields = scanner.takeFields()
    if fields.isEmpty { return }
    guard header != nil else {
      do throws(SwiftletError) {
        header = Self.uniqueNames(try fields.map { field throws(SwiftletError) in try CSVRows.text(field) })
      } catch {
        throw located(error)
      }
      columns = Array(repeating: CSVColumn(), count: fields.count)
      return
    }
    guard fields.count <= columns.count else {
      throw located(
        SwiftletError.data(
          "\(fields.count) fields, but the header names \(columns.count); quote fields that contain the separator"))
    }
    for index in columns.indices { columns[index].see(index < fields.count ? fields[index] : []) }
    records.append(recordStart..<end)
  }

  private func located(_ error: SwiftletError) -> SwiftletError {
    error.located(at: FileLocation(file: file.path, line: file.line(at: recordStart)))
  }

  /// The names made unique as in pandas: `a`, `a.1`, and `Unnamed: 2` for an empty name.
  private static func uniqueNames(_ names: [String]) -> [String] {
    var taken: Set<String> = []
    // A header may repeat a name thousands of times.
    var repetitions: [String: Int] = [:]
    return names.enumerated().map { index, name in
      let name = name.isEmpty ? "Unnamed: \(index)" : name
      var candidate = name
      var repetition = repetitions[name] ?? 0
      while !taken.insert(candidate).inserted {
        repetition += 1
        candidate = "\(name).\(repetition)"
      }
      repetitions[name] = repetition
      return candidate
    }
  }
}

/// Splits CSV into fields, byte by byte. As in pandas, quotation marks have a meaning only at the start of a field.
private struct CSVScanner {
  private enum State { case fieldStart, plain, quoted, quoteInQuoted }
  private let separator: UInt8
  private var state = State.fieldStart
  private var field: [UInt8] = []
  private var fields: [[UInt8]] = []
  private var sawQuote = false

  init(separator: UInt8) { self.separator = separator }

  var isInsideQuotes: Bool { state == .quoted }

  /// Consumes one byte. Returns whether it ended the record.
  mutating func feed(_ byte: UInt8) -> Bool {
    if state == .quoted, byte != UInt8(ascii: "\"") {
      field.append(byte)
      return false
    }
    switch (state, byte) {
    case (.quoted, UInt8(ascii: "\"")): state = .quoteInQuoted
    case (.fieldStart, UInt8(ascii: "\"")):
      state = .quoted
      sawQuote = true
    case (.quoteInQuoted, UInt8(ascii: "\"")):
      field.append(byte)
      state = .quoted
    case (_, 10), (_, 13): return true
    case (_, separator):
      fields.append(field)
      field = []
      state = .fieldStart
    default:
      field.append(byte)
      state = .plain
    }
    return false
  }

  /// The fields of the record that has ended; none if the line is blank.
  mutating func takeFields() -> [[UInt8]] {
    let isBlank = fields.isEmpty && !sawQuote && field.allSatisfy { $0 == 0x20 || $0 == 0x09 }
    let record = isBlank ? [] : fields + [field]
    fields = []
    field = []
    state = .fieldStart
    sawQuote = false
    return record
  }
}

/// Infers the type of a column from its fields.
private struct CSVColumn {
  private var isInteger = true
  private var isNumber = true
  private var isBoolean = true
  private var hasValue = false
  private var hasMissing = false

  mutating func see(_ field: [UInt8]) {
    if !isInteger, !isNumber, !isBoolean { return }  // only text is left
    if CSVType.isMissing(field) {
      hasMissing = true
      return
    }
    hasValue = true
    if isInteger, CSVType.integer(field) == nil { isInteger = false }
    if isNumber, CSVType.number(field) == nil { isNumber = false }
    if isBoolean, CSVType.boolean(field) == nil { isBoolean = false }
  }

  var type: CSVType {
    if !hasValue { return .text }
    if isBoolean { return .boolean }
    if isInteger { return hasMissing ? .number : .integer }  // pandas has no missing integers
    return isNumber ? .number : .text
  }
}

private enum CSVType: Sendable {
  case text, integer, number, boolean

  func value(of field: [UInt8]) throws(SwiftletError) -> JSONValue {
    if field.isEmpty { return .null }
    if self != .text, Self.isMissing(field) { return .null }
    switch self {
    case .integer: if let value = Self.integer(field) { return .integer(value) }
    case .number: if let value = Self.number(field) { return .number(value) }
    case .boolean: if let value = Self.boolean(field) { return .bool(value) }
    case .text: break
    }
    return .string(try CSVRows.text(field))
  }

  private static let missingWords: Set<String> = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
  ]

  static func isMissing(_ field: [UInt8]) -> Bool {
    field.count <= 8 && missingWords.contains(String(decoding: field, as: UTF8.self))
  }

  /// The field without leading and trailing blanks, which numbers may have.
  private static func trimmed(_ field: [UInt8]) -> ArraySlice<UInt8> {
    let start = field.prefix { $0 == 0x20 || $0 == 0x09 }.count
    let end = field.reversed().prefix { $0 == 0x20 || $0 == 0x09 }.count
    return field[start..<max(start, field.count - end)]
  }

  static func integer(_ field: [UInt8]) -> Int? {
    let digits = trimmed(field)
    return digits.count <= 20 ? Int(String(decoding: digits, as: UTF8.self)) : nil
  }

  static func number(_ field: [UInt8]) -> Double? {
    let digits = trimmed(field)
    guard digits.count <= 400 else { return nil }
    let text = String(decoding: digits, as: UTF8.self)
    let isPlain = digits.allSatisfy { "0123456789+-.eE".utf8.contains($0) }
    let infinities: Set<String> = ["inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"]
    return isPlain || infinities.contains(text.lowercased()) ? Double(text) : nil
  }

  static func boolean(_ field: [UInt8]) -> Bool? {
    switch String(decoding: field, as: UTF8.self) {
    case "True", "TRUE", "true": true
    case "False", "FALSE", "false": false
    default: nil
    }
  }
}
