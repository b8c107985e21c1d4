import Diagnostics
import OrderedJSON

/// The rows of one file. Only their offsets are in memory; a row is read and parsed when it is needed.
struct IndexedRows: RowSource {
  let bytes: FileBytes
  /// The byte range of each record, without its line break.
  let records: [Range<Int>]
  /// The name of the format, for the fingerprint.
  let format: String
  var notes: [String] = []
  /// Parses the bytes of a record. Lines in its errors are relative to the record.
  let parse: @Sendable ([UInt8]) throws(SwiftletError) -> Row

  var count: Int { records.count }

  func row(at index: Int) throws(SwiftletError) -> Row {
    guard records.indices.contains(index) else { throw outOfRange(index) }
    let record = try bytes.read(records[index])
    do {
      return try parse(record)
    } catch {
      var location = location(of: index)
      if let line = error.location.line { location.line = (location.line ?? 1) + line - 1 }
      throw error.relocated(to: location)
    }
  }

  func location(of index: Int) -> FileLocation {
    guard records.indices.contains(index) else { return FileLocation(file: bytes.path) }
    return FileLocation(file: bytes.path, line: bytes.line(at: records[index].lowerBound))
  }

  /// A fingerprint of the format and the content of the file.
  func fingerprint() throws(SwiftletError) -> String { combined(["file", format, try bytes.fingerprint()]) }
}

extension FileBytes {
  /// The offset of the text, which is after a UTF-8 byte order mark if there is one.
  /// - Throws: `SwiftletError` for byte order marks of UTF-16 and UTF-32.
  func textStart() throws(SwiftletError) -> Int {
    let head = try read(0..<min(3, count))
    if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
      throw SwiftletError.data("the file is UTF-16; save it as UTF-8", at: FileLocation(file: path))
    }
    return head == [0xEF, 0xBB, 0xBF] ? 3 : 0
  }

  /// The first byte from `start` on that is not JSON white space.
  func firstByte(from start: Int) throws(SwiftletError) -> (offset: Int, byte: UInt8)? {
    var found: (offset: Int, byte: UInt8)?
    try scan { chunk, offset throws(SwiftletError) in
      let from = max(0, min(start - offset, chunk.count))
      if let index = chunk[from...].firstIndex(where: { !isJSONSpace($0) }) { found = (offset + index, chunk[index]) }
      return found == nil
    }
    return found
  }

  /// The lines from `start` on, without line breaks. A last line does not need a line break.
  ///
  /// - Parameters:
  ///   - returnEnds: whether a single carriage return ends a line, as in Python's text files.
  ///   - skipsBlank: whether lines with only white space are skipped.
  func lines(from start: Int, returnEnds: Bool, skipsBlank: Bool) throws(SwiftletError) -> [Range<Int>] {
    var lines: [Range<Int>] = []
    var lineStart = start
    var lastByteOfText = start  // one past the last byte that is not white space
    var afterReturn = false
    func close(at end: Int) {
      if !skipsBlank || lastByteOfText > lineStart { lines.append(lineStart..<end) }
    }
    try scan { chunk, offset throws(SwiftletError) in
      for (index, byte) in chunk.enumerated() where offset + index >= start {
        let here = offset + index
        if byte == 10 {
          // A carriage return before it has already ended the line, or is part of the line break.
          if afterReturn, returnEnds { lineStart = here } else { close(at: afterReturn ? here - 1 : here) }
          lineStart = here + 1
        } else if byte == 13, returnEnds {
          close(at: here)
          lineStart = here + 1
        } else if !isJSONSpace(byte) {
          lastByteOfText = here + 1
        }
        afterReturn = byte == 13
      }
      return true
    }
    if lineStart < count { close(at: count) }
    return lines
  }
}

func isJSONSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
